"""A series: the email that is sent again and again, and the rule that says when."""

from __future__ import annotations

from dataclasses import dataclass

from outspool.domain.email import Email
from outspool.domain.recurrence import Recurrence


@dataclass(frozen=True, slots=True, kw_only=True)
class Series(Email):
    """Makes an email of its content at each time of `recurrence`; `due_at` is when the next one is made.

    It is listed, shown, changed and canceled like an email, but never sent itself.
    """

    recurrence: Recurrence
