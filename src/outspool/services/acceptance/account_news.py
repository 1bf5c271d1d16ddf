"""Reports the SMTP account's pause in answers about emails that wait for it."""

from __future__ import annotations

import logging
import time

from outspool.domain.email import Email
from outspool.domain.status import CLAIMABLE, EmailStatus
from outspool.domain.summary import Pause
from outspool.ports.account import Account, AccountState
from outspool.ports.clock import Clock

logger = logging.getLogger(__name__)

_CACHE_SECONDS = 0.25
"""How long a read of the account's state is reused."""


class AccountNews:
    """Tells whether the account's trouble keeps an email waiting."""

    def __init__(self, account: Account, *, clock: Clock) -> None:
        """Read the account that the dispatcher uses."""
        self._account = account
        self._clock = clock
        self._seen: tuple[float, AccountState] | None = None

    async def pause(self, email: Email | None = None) -> Pause | None:
        """Return why and until when the account is paused; None if it is not, or `email` does not wait for it.

        This only adds to an answer about an accepted email. So an unavailable database returns None instead of raising,
        and a recent state is reused, except for an email that the account has just deferred.
        """
        if email is not None and email.status not in CLAIMABLE:
            return None
        try:
            is_news = email is not None and email.status is EmailStatus.DEFERRED
            account = await (self._account.state() if is_news else self._recent_state())
        except Exception:
            logger.warning("could not read the state of the SMTP account", exc_info=True)
            return None
        if account.paused_until is None or not account.is_paused(self._clock.now()):
            return None
        return Pause(until=account.paused_until, reason=account.message)

    async def _recent_state(self) -> AccountState:
        now = time.monotonic()
        if self._seen is None or now > self._seen[0] + _CACHE_SECONDS:
            self._seen = now, await self._account.state()
        return self._seen[1]
