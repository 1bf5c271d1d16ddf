"""Waits, for the promised time, for an email that may still be sent."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from outspool.domain.outlook import Outlook
from outspool.domain.status import UNSETTLED
from outspool.domain.summary import next_attempt_at
from outspool.errors import StoreUnavailable

if TYPE_CHECKING:
    from outspool.domain.email import Email
    from outspool.services.acceptance.outbox import Outbox

_LOOK_SECONDS = 1.0
"""How often to look whether the account, and not the email, has changed."""


def is_worth_waiting(email: Email, *, outlook: Outlook, now: datetime, seconds: float) -> bool:
    """Tell whether the email may be sent within `seconds`: it is due or being sent, or its next attempt begins by then.

    A due email is waited for also while the account is paused: a worker that starts may find the account mended.
    """
    if seconds <= 0:
        return False
    if email.status in UNSETTLED:
        return True
    attempt = next_attempt_at(email, pause=outlook.pause)
    return attempt is not None and attempt <= now + timedelta(seconds=seconds)


async def wait_while_it_may_be_sent(outbox: Outbox, email: Email, *, seconds: float) -> Email:
    """Wait up to `seconds` for the email's outcome; return the email as it is then.

    A deferred email is waited for too, unless its next attempt comes later. A database that is away does not hide that
    the email was accepted.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        left = deadline - loop.time()
        if not is_worth_waiting(email, outlook=await outbox.outlook(email), now=outbox.now(), seconds=left):
            return email
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(min(left, _LOOK_SECONDS)):
                await outbox.next_version(str(email.id), after=email.version)
        with contextlib.suppress(StoreUnavailable):
            email = await outbox.get(str(email.id))
