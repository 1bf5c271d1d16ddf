"""How the SMTP account fares, for the answers about emails that wait for it."""

from __future__ import annotations

import logging
import time

from outspool.domain.email import Email
from outspool.domain.status import CLAIMABLE, EmailStatus
from outspool.domain.summary import Pause
from outspool.ports.account import Account, AccountState
from outspool.ports.clock import Clock

logger = logging.getLogger(__name__)

_A_MOMENT_SECONDS = 0.25
"""For so long the account's state is not read again for every answer."""


class AccountNews:
    """Says why an email does not leave, if that is the account's fault."""

    def __init__(self, account: Account, *, clock: Clock) -> None:
        """Share the account with the dispatcher."""
        self._account = account
        self._clock = clock
        self._seen: tuple[float, AccountState] | None = None

    async def pause(self, email: Email | None = None) -> Pause | None:
        """Return why and until when the account rests, None if it does not, or if `email` does not wait for it.

        It only colours the answer about an email that is accepted already, so no trouble here may hide that answer,
        and what was read a moment ago is good enough, but for what the account has just kept from leaving.
        """
        if email is not None and email.status not in CLAIMABLE:
            return None
        try:
            is_news = email is not None and email.status is EmailStatus.DEFERRED
            account = await (self._account.state() if is_news else self._lately())
        except Exception:
            logger.warning("could not read the state of the SMTP account", exc_info=True)
            return None
        if account.paused_until is None or not account.is_paused(self._clock.now()):
            return None
        return Pause(until=account.paused_until, reason=account.message)

    async def _lately(self) -> AccountState:
        now = time.monotonic()
        if self._seen is None or now > self._seen[0] + _A_MOMENT_SECONDS:
            self._seen = now, await self._account.state()
        return self._seen[1]
