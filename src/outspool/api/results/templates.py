"""What templates there are, and what each needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outspool.api.results.base import Result
from outspool.services.templates.catalog import TemplateCard


class TemplateHead(Result):
    """What a template needs in `variables`, and the defaults of those that may be left out."""

    name: str
    required: list[str]
    defaults: dict[str, Any]


class TemplateResult(TemplateHead):
    """One template; `error` says why it cannot be used."""

    description: str | None = None
    subject: str | None = None
    error: str | None = None


class TemplatesHead(Result):
    """What `list_templates` declares."""

    templates: list[TemplateHead]


class TemplatesResult(Result):
    """All templates, by name."""

    templates: list[TemplateResult]


def templates_result(cards: Sequence[TemplateCard]) -> TemplatesResult:
    """Show the templates there are."""
    return TemplatesResult(templates=[template_result(card) for card in cards])


def template_result(card: TemplateCard) -> TemplateResult:
    """Show one template."""
    return TemplateResult(
        name=card.name,
        description=card.description or None,
        subject=card.subject or None,
        required=list(card.required),
        defaults=dict(card.defaults),
        error=card.trouble or None,
    )
