"""Email templates: finding, rendering and checking them.

`catalog` is the entry point. It finds templates through `files`, renders them with `rendering` (compiled by `code`, in
a `sandbox`, within `limits`), and prepares the HTML with `style_inlining`.
"""
