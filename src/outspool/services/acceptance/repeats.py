"""Recognises the repeat of a call whose client left before it got the answer, so that it sends nothing twice.

A client that waits five seconds for a tool, and gives up, tells its model to try again. The email was accepted, so the
same call must return it. A repeat of a call that was answered is meant as a new email.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID

from outspool.domain.email import Email
from outspool.domain.principal import Principal
from outspool.errors import OutspoolError
from outspool.ports.calls import AbandonedCalls
from outspool.ports.clock import Clock

logger = logging.getLogger(__name__)

REMEMBERED = timedelta(minutes=10)
"""How long an abandoned call is remembered."""

_CLOSING_SECONDS = 5.0


class RepeatGuard:
    """The abandoned calls of all callers."""

    def __init__(self, calls: AbandonedCalls, *, clock: Clock) -> None:
        """Remember them in `calls`, for all processes."""
        self._calls = calls
        self._clock = clock
        self._writing: dict[asyncio.Task[None], str] = {}

    def begin(self, principal: Principal, digest: Callable[[], bytes]) -> GuardedCall:
        """Return a new call of this caller; `digest` hashes its tool and arguments, and is called only if needed."""
        return GuardedCall(self, principal, digest)

    async def recall(self, call: GuardedCall) -> Sequence[UUID]:
        """Return the emails of the same call if it was abandoned lately, and forget it. Raises `StoreUnavailable`."""
        if own := [task for task, user in self._writing.items() if user == call.principal.user]:
            await asyncio.wait(own)
        since, scope = self._clock.now() - REMEMBERED, call.principal.scope
        recent = await self._calls.list_recent(scope, since=since)
        if not recent or (key := call.key()) not in recent:
            return ()
        return await self._calls.take(key, scope, since=since)

    def remember(self, call: GuardedCall, accepted: Awaitable[Sequence[Email]]) -> None:
        """Record in the background what the abandoned `call` has accepted, as soon as that is stored."""
        task = asyncio.create_task(self._remember(call, accepted), name="remember an abandoned call")
        self._writing[task] = call.principal.user
        task.add_done_callback(self._writing.pop)

    async def close(self) -> None:
        """Wait until everything is recorded."""
        if self._writing:
            await asyncio.wait(tuple(self._writing), timeout=_CLOSING_SECONDS)

    async def _remember(self, call: GuardedCall, accepted: Awaitable[Sequence[Email]]) -> None:
        try:
            emails = await accepted
        except Exception:  # noqa: BLE001 - nothing was accepted
            return
        if not emails:
            return
        now, key = self._clock.now(), await asyncio.to_thread(call.key)
        try:
            await self._calls.remember(
                key, [email.id for email in emails], call.principal.scope, at=now, since=now - REMEMBERED
            )
        except OutspoolError as error:
            logger.warning("An abandoned call could not be remembered; its repeat sends again: %s", error)
        else:
            logger.info("A client left before it got the answer; its call is remembered for ten minutes.")


class GuardedCall:
    """One call that accepts emails."""

    def __init__(self, guard: RepeatGuard, principal: Principal, digest: Callable[[], bytes]) -> None:
        """See `RepeatGuard.begin`."""
        self.principal = principal
        self.emails: Sequence[Email] = ()
        """What the same call accepted before, when its client left."""
        self._guard = guard
        self._digest = digest
        self._storing: asyncio.Future[Sequence[Email]] | None = None
        self._is_abandoned = False

    def key(self) -> str:
        """Return what the same call of the same caller has too: 64 characters."""
        caller = self.principal
        hashed = hashlib.sha256(self._digest())
        for part in (caller.user, caller.agent, *sorted(caller.identities)):
            hashed.update(b"\0" + part.encode())
        return hashed.hexdigest()

    async def store(self, storing: Awaitable[Sequence[Email]]) -> Sequence[Email]:
        """Return what `storing` does. It runs to its end even if this call is canceled meanwhile."""
        self._storing = asyncio.ensure_future(storing)
        if self._is_abandoned:
            self._guard.remember(self, self._storing)
        return await asyncio.shield(self._storing)

    def abandon(self) -> None:
        """Note that the client will not get the answer."""
        if self._is_abandoned:
            return
        self._is_abandoned = True
        if self._storing is not None:
            self._guard.remember(self, self._storing)
