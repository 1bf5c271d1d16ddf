"""The state of the SMTP account, shared by all processes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

LONGEST_PAUSE = timedelta(hours=2)
"""Longer than any pause (`outspool.domain.retry.compute_account_pause`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """State of the SMTP account: paused until `paused_until` (UTC) after `failures` in a row."""

    paused_until: datetime | None = None
    failures: int = 0
    kind: str = ""
    """A `TroubleKind`; empty when the account works."""
    message: str = ""
    hint: str = ""
    credential: str = ""
    """Hash of the login that was refused, if one was."""

    def is_paused(self, now: datetime) -> bool:
        """Tell whether the account is paused at `now`. A pause longer than any was set by a wrong clock."""
        return self.paused_until is not None and now < self.paused_until < now + LONGEST_PAUSE


class Account(Protocol):
    """The state of the SMTP account, shared by all processes. Raises like `EmailStore`."""

    async def state(self) -> AccountState:
        """Return the current state."""
        ...

    async def swap(self, before: AccountState, state: AccountState) -> bool:
        """Replace the state `before` by `state`; False, and no change, if the state is no longer `before`."""
        ...
