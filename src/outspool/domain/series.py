"""A series: an email that is sent repeatedly, and its rule."""

from __future__ import annotations

from dataclasses import dataclass

from outspool.domain.email import Email
from outspool.domain.recurrence import Recurrence


@dataclass(frozen=True, slots=True, kw_only=True)
class Series(Email):
    """Makes an email of its content at each time of `recurrence`; `due_at` is when the next is made.

    It is listed, shown, updated and canceled like an email, but never sent itself.
    """

    recurrence: Recurrence
