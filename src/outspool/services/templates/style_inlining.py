"""Inlines the styles of an HTML page, because many mail programs ignore style sheets."""

from __future__ import annotations

import re
from collections import Counter

from outspool.domain.text import check_body
from outspool.errors import TemplateError, brief

MAX_ELEMENTS = 50_000

STACK_BYTES = 128 * 1024 * 1024
"""Stack size of the inlining thread: css-inline recurses for each nested element.

It uses some 800 bytes a level and crashes the process on overflow; with this stack, `MAX_ELEMENTS` cannot overflow it.
"""

_START_TAG = re.compile(r"<([A-Za-z][A-Za-z0-9]*)")
_END_TAG = re.compile(r"</([A-Za-z][A-Za-z0-9]*)")
_MAX_UNCLOSED = 100
_OPTIONAL_END_TAGS = (
    *("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"),
    *("body", "head", "html", "li", "p", "tbody", "td", "tfoot", "th", "thead", "tr", "dd", "dt"),
)


def inline_styles(html: str, name: str) -> str:
    """Return `html` with its styles inlined; run it with a stack of `STACK_BYTES`.

    ``@media`` rules stay in the head. Nothing is loaded: linked style sheets are dropped. Raises `TemplateError` for
    too many elements, and `InvalidArgument` for characters that mail cannot carry.
    """
    import css_inline

    check_body(html, "html")
    _check_elements(html, name)
    inliner = css_inline.CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)
    try:
        return inliner.inline(html)
    except css_inline.InlineError as error:
        raise TemplateError(f"The styles of the template {brief(name)} cannot be read: {brief(error, 120)}.") from None


def _check_elements(html: str, name: str) -> None:
    """Raise `TemplateError` for HTML that would overload a parser.

    Unclosed formatting elements are reopened in each paragraph that follows, so the size can grow by its square.
    """
    opened = Counter(tag.lower() for tag in _START_TAG.findall(html))
    if opened.total() > MAX_ELEMENTS:
        raise TemplateError(f"The template {brief(name)} makes more than {MAX_ELEMENTS:,} elements.", "Give less.")
    closed = Counter(tag.lower() for tag in _END_TAG.findall(html))
    if (opened - closed).total() - sum((opened - closed)[tag] for tag in _OPTIONAL_END_TAGS) > _MAX_UNCLOSED:
        raise TemplateError(
            f"The template {brief(name)} leaves elements open.", "Close what a loop opens, in the loop."
        )
