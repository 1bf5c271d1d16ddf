"""The templates and their variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from outspool.api.results.base import OBJECTS, Result
from outspool.services.templates.catalog import TemplateCard


class TemplateHead(Result):
    """Required `variables`, and the defaults of optional ones."""

    name: str
    required: list[str]
    defaults: dict[str, Any]


class TemplateResult(TemplateHead):
    """One template; `error` says why it cannot be used."""

    description: str | None = None
    subject: str | None = None
    error: str | None = None


class TemplatesHead(Result):
    """The declared result of `list_templates`."""

    templates: Annotated[list[TemplateHead], OBJECTS]


class TemplatesResult(Result):
    """All templates, by name."""

    templates: list[TemplateResult]


def templates_result(cards: Sequence[TemplateCard]) -> TemplatesResult:
    """Return the templates as a result."""
    return TemplatesResult(templates=[template_result(card) for card in cards])


def template_result(card: TemplateCard) -> TemplateResult:
    """Return one template as a result."""
    return TemplateResult(
        name=card.name,
        description=card.description or None,
        subject=card.subject or None,
        required=list(card.required),
        defaults=dict(card.defaults),
        error=card.trouble or None,
    )
