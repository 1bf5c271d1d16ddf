"""The account that emails are sent with, and its rest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

LONGEST_PAUSE = timedelta(hours=2)
"""No pause comes near it (`outspool.domain.retry.account_pause`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """How the SMTP account fares: `paused_until` (UTC) and why, after so many `failures` in a row."""

    paused_until: datetime | None = None
    failures: int = 0
    kind: str = ""
    message: str = ""
    hint: str = ""
    credential: str = ""
    """Hash of the login that was refused, when one was."""

    def is_paused(self, now: datetime) -> bool:
        """Whether nothing should be tried at `now`. What seems longer than any pause was set by a wrong clock."""
        return self.paused_until is not None and now < self.paused_until < now + LONGEST_PAUSE


class Account(Protocol):
    """How the SMTP account fares, as all processes see it. Raises like `EmailStore`."""

    async def state(self) -> AccountState:
        """Return how it fares."""
        ...

    async def swap(self, seen: AccountState, state: AccountState) -> bool:
        """Record how it fares, for all processes, unless that changed since it was `seen`; False then."""
        ...
