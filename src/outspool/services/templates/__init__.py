"""Templates, from their files to the email that is written from one.

`catalog` is the way in: what templates there are, and emails written from them. It finds them by `files`, fills them in
by `rendering` (compiled by `code`, in a `sandbox`, within `limits`), and has the HTML made ready by `style_inlining`.
"""
