"""The doctor's check of the templates."""

from __future__ import annotations

from collections.abc import Sequence

from outspool.services.doctor.findings import Finding, ok, warn
from outspool.services.templates.catalog import TemplateCard

_SHOWN = 10


def check_templates(cards: Sequence[TemplateCard], *, missing_folder: str) -> Finding:
    """Report the templates; `missing_folder` is a configured folder that does not exist, else empty."""
    if missing_folder:
        finding = f"EMAIL_TEMPLATE_DIR is {missing_folder}, which is no folder."
        return warn("templates", finding, "Make it, or unset it.")
    if broken := [card for card in cards if card.trouble]:
        rest = f" So are {len(broken) - 1} others." if len(broken) > 1 else ""
        finding = f"{broken[0].name} is broken: {broken[0].trouble}{rest}"
        return warn("templates", finding, "Mend the file, or remove it.")
    names = [card.name for card in cards]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ok("templates", f"{', '.join(names[:_SHOWN])}{more}.")
