"""The files of a template and what their front matter says.

A template called ``report`` is ``report.html``, ``report.txt``, or both. One of them may begin with its front matter,
TOML between two lines of ``+++``::

    +++
    subject = "Report: {{ title }}"
    description = "What it is for, and what its variables look like."

    [variables]     # the defaults of those that may be left out
    note = ""
    rows = []
    +++
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from outspool.errors import TemplateError, brief
from outspool.ports.files import TemplateSource

_FENCE = "+++"
_FRONT = re.compile(r"\+\+\+[ \t]*\n(?P<toml>.*?)^\+\+\+[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_KINDS = {"subject": str, "description": str, "variables": dict}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_HTML, _TEXT = ".html", ".txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontMatter:
    """A template's own settings: its `subject`, itself a template, and the `defaults` of variables."""

    subject: str = ""
    description: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFiles:
    """One template: the file names of its HTML and text; one of them may be None."""

    name: str
    html: str | None
    text: str | None
    front: FrontMatter


class TemplateShelf:
    """Several sources as one: a template of an earlier source hides both files of a later one."""

    def __init__(self, sources: Sequence[TemplateSource]) -> None:
        """Read `sources` in this order at every call."""
        self._sources = tuple(sources)

    def names(self) -> list[str]:
        """Return the names of all templates."""
        return sorted({file.rpartition(".")[0] for source in self._sources for file in source.names()})

    def template(self, name: str) -> TemplateFiles:
        """Return the template's files. Raises `TemplateError`."""
        source = self._source_of(name) if _NAME.fullmatch(name) else None
        if source is None:
            raise self._unknown_error(name)
        texts = {ending: source.read(name + ending) for ending in (_HTML, _TEXT)}
        fronts = {ending: found for ending, text in texts.items() if (found := _FRONT.match(text or ""))}
        if len(fronts) > 1:
            raise TemplateError(f"Both files of the template {brief(name)} have a front matter.", "Keep one of them.")
        front = FrontMatter()
        for ending, found in fronts.items():
            front = _read_front(found["toml"], name + ending)
        return TemplateFiles(
            name=name,
            html=None if texts[_HTML] is None else name + _HTML,
            text=None if texts[_TEXT] is None else name + _TEXT,
            front=front,
        )

    def sources(self, name: str) -> dict[str, str]:
        """Return the whole text of each of the template's files, by file name."""
        source = self._source_of(name)
        texts = {} if source is None else {name + ending: source.read(name + ending) for ending in (_HTML, _TEXT)}
        return {file: text for file, text in texts.items() if text is not None}

    def body(self, file: str) -> str | None:
        """Return a file's text with its front matter replaced by a comment of as many lines.

        None if there is no such file. Raises `TemplateError`.
        """
        stem, _, _ = file.rpartition(".")
        source = self._source_of(stem)
        text = None if source is None else source.read(file)
        if text is None:
            return None
        if front := _FRONT.match(text):
            return "{#" + "\n" * (front[0].count("\n") - 1) + "#}\n" + text[front.end() :]
        if text.startswith(f"{_FENCE}\n"):
            raise TemplateError(f"The front matter of {brief(file)} has no end.", f"Close it with a line {_FENCE}.")
        return text

    def _source_of(self, stem: str) -> TemplateSource | None:
        for source in self._sources:
            if any(source.read(stem + ending) is not None for ending in (_HTML, _TEXT)):
                return source
        return None

    def _unknown_error(self, name: str) -> TemplateError:
        known = self.names()
        near = get_close_matches(name[:64].lower(), known, n=2, cutoff=0.5)
        suggestion = f"Did you mean {' or '.join(map(brief, near))}?" if near else "Use list_templates to see them."
        return TemplateError(f"There is no template {brief(name)}.", suggestion)


def _read_front(toml: str, file: str) -> FrontMatter:
    import tomllib

    try:
        front = tomllib.loads(toml)
        json.dumps(front, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        why = brief(error, 120) if isinstance(error, tomllib.TOMLDecodeError) else "a variable is not text, number, …"
        raise TemplateError(f"The front matter of {brief(file)} cannot be read: {why}.") from None
    for key, value in front.items():
        if key not in _KINDS:
            raise TemplateError(
                f"The front matter of {brief(file)} holds {brief(key)}.", f"Known are {', '.join(_KINDS)}."
            )
        if not isinstance(value, _KINDS[key]):
            raise TemplateError(f"In the front matter of {brief(file)}, {key} has the wrong type.")
    return FrontMatter(
        subject=front.get("subject", ""),
        description=front.get("description", ""),
        defaults=front.get("variables", {}),
    )
