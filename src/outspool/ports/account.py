"""The state of the SMTP account, shared by all processes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

LONGEST_PAUSE = timedelta(hours=2)
"""Longer than any pause (`outspool.domain.retry.compute_account_pause`)."""

LONGEST_SILENCE = timedelta(minutes=3)
"""Longer than opening a connection takes, with all its timeouts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """State of the SMTP account: paused until `paused_until` (UTC) after `failures` in a row.

    Without failures, a `message` says that the server has kept a connection waiting since `paused_until`.
    """

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

    def is_silent(self, now: datetime) -> bool:
        """Tell whether a connection waits for the server at `now`; a remark that nobody took back is old."""
        since = self.paused_until
        return not self.failures and bool(self.message) and since is not None and abs(now - since) < LONGEST_SILENCE


class Account(Protocol):
    """The state of the SMTP account, shared by all processes. Raises like `EmailStore`."""

    async def state(self) -> AccountState:
        """Return the current state."""
        ...

    async def swap(self, before: AccountState, state: AccountState) -> bool:
        """Replace the state `before` by `state`; False, and no change, if the state is no longer `before`."""
        ...
