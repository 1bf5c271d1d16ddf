"""Lists templates, and renders one into the texts of an email.

A template is rendered once, when its email is accepted: later changes of the template affect no accepted email.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeVar

from outspool.errors import InvalidArgument, TemplateError, brief
from outspool.ports.files import TemplateSource
from outspool.services.templates.files import TemplateFiles, TemplateShelf
from outspool.services.templates.style_inlining import STACK_BYTES, inline_styles

T = TypeVar("T")

MAX_VARIABLES = 1_000_000
"""Bytes of all variables together, as JSON."""

_THREADS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateCard:
    """A template's description for callers: required variables, and defaults of optional ones.

    `trouble` says why a template cannot be used; the other fields are empty then.
    """

    name: str
    description: str = ""
    subject: str = ""
    required: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateTexts:
    """The rendered subject, and the plain text and HTML if the template has files for them."""

    subject: str
    text: str | None
    html: str | None


class Templates:
    """The templates of this outbox. Each method raises `TemplateError`."""

    def __init__(self, sources: Sequence[TemplateSource]) -> None:
        """A template in an earlier source hides one of the same name in a later source."""
        self._shelf = TemplateShelf(sources)
        self._threads: ThreadPoolExecutor | None = None

    async def list(self) -> list[TemplateCard]:
        """Return the cards of all templates, by name."""
        return await self._in_thread(lambda: [self._card(name) for name in self._shelf.names()])

    async def show(self, name: str) -> tuple[TemplateCard, Mapping[str, str]]:
        """Return a template's card and its files' texts by file name."""
        return await self._in_thread(lambda: (self._read_card(self._shelf.template(name)), self._shelf.sources(name)))

    async def render(self, name: str, variables: Mapping[str, Any], *, subject: str = "") -> TemplateTexts:
        """Render a template with `variables`; `subject` wins over the template's own."""
        return await self._in_thread(lambda: self._render(name, variables, subject))

    def _card(self, name: str) -> TemplateCard:
        try:
            return self._read_card(self._shelf.template(name))
        except TemplateError as error:
            return TemplateCard(name=name, trouble=error.message)

    def _read_card(self, files: TemplateFiles) -> TemplateCard:
        from outspool.services.templates.rendering import variables_of

        files_used = [file for file in (files.html, files.text) if file is not None]
        names = variables_of(files.front.subject, files_used, self._shelf.body)
        return TemplateCard(
            name=files.name,
            description=files.front.description,
            subject=files.front.subject,
            required=tuple(sorted(names.required - files.front.defaults.keys())),
            defaults={**dict.fromkeys(sorted(names.optional)), **files.front.defaults},
        )

    def _render(self, name: str, variables: Mapping[str, Any], subject: str) -> TemplateTexts:
        from outspool.services.templates.rendering import Rendering

        files = self._shelf.template(name)
        rendering = Rendering(self._shelf.body, _complete_variables(variables, self._read_card(files)))
        subject = subject or rendering.subject(files.front.subject)
        if not subject:
            raise TemplateError(f"The template {brief(name)} has no subject.", "Give `subject`.")
        text = None if files.text is None else rendering.file(files.text, is_html=False)
        html = None if files.html is None else inline_styles(rendering.file(files.html, is_html=True), name)
        return TemplateTexts(subject=subject, text=text, html=html)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread with the large stack that inlining needs."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="templates")
        before = threading.stack_size(STACK_BYTES)
        try:
            future = asyncio.get_running_loop().run_in_executor(self._threads, work)  # starts the thread
        finally:
            threading.stack_size(before)
        return await future


def check_variables(provided: Mapping[str, Any]) -> None:
    """Raise `InvalidArgument` for variables that JSON cannot hold, or that are too large."""
    try:
        size = len(json.dumps(provided, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, TypeError, RecursionError):
        raise InvalidArgument("variables cannot be read.", "Give text, numbers, lists and objects.") from None
    if size > MAX_VARIABLES:
        raise InvalidArgument(f"variables are {size:,} bytes long; {MAX_VARIABLES:,} are the most.", "Give less.")


def _complete_variables(provided: Mapping[str, Any], card: TemplateCard) -> dict[str, Any]:
    """Return the variables with defaults for missing ones. Raises `TemplateError`.

    None counts as missing.
    """
    named = f"The template {brief(card.name)}"
    known = [*card.required, *card.defaults]
    for name in provided:
        if name not in known:
            near = get_close_matches(name[:64], known, n=1, cutoff=0.5)
            suggestion = f"Did you mean {brief(near[0])}?" if near else f"It has: {', '.join(known) or 'none'}."
            raise TemplateError(f"{named} has no variable {brief(name)}.", suggestion)
    values = {name: value for name, value in provided.items() if value is not None}
    if missing := [name for name in card.required if name not in values]:
        noun = "variable" if len(missing) == 1 else "variables"
        raise TemplateError(f"{named} needs the {noun} {', '.join(missing)}.", "Give them in `variables`.")
    for name, value in values.items():
        _check_kind(name, value, card.defaults.get(name))
    # Variables without default stay undefined, which the template tests for.
    return {name: value for name, value in card.defaults.items() if value is not None} | values


def _check_kind(name: str, value: object, default: object) -> None:
    """Raise `TemplateError` for a value of another kind than the default, such as a list for an object."""
    for kind, called in ((list, "a list"), (dict, "an object")):
        if isinstance(default, kind) and not isinstance(value, kind):
            raise TemplateError(f"The variable {brief(name)} must be {called}.")
