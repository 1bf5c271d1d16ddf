"""Notifies clients of changes of emails: ``notifications/resources/updated`` for ``email://{email_id}``.

Older clients call ``resources/subscribe`` and are notified on their connection. Newer ones open a stream with
``subscriptions/listen``, which the SDK serves from a bus of events; this module watches the emails named by the stream
while it is open.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, EmptyResult, SubscribeRequestParams, UnsubscribeRequestParams

from outspool.errors import InvalidArgument, OutspoolError, brief
from outspool.mcp.sdk import client_of, connection_of
from outspool.mcp.strict_tool import Describe, OutboxFor
from outspool.services.acceptance.outbox import Outbox

log = logging.getLogger(__name__)

MOST_FOLLOWED = 500
"""Emails that all clients of a process together may follow."""

MOST_FOLLOWED_BY_ONE = 25
"""Emails that one session or stream may follow, so that one client cannot use up `MOST_FOLLOWED`."""

_EMAIL = re.compile(r"email://([0-9A-Fa-f-]{32,36})")
_STATE = "outspool.followed"

Notify = Callable[[str], Awaitable[None]]
"""Notifies one follower; takes the URI of the changed email."""


class Subscriptions:
    """The emails that clients follow. One task watches each email, however many clients follow it."""

    def __init__(self, outbox_for: OutboxFor, describe: Describe) -> None:
        """Follow nothing yet; `bus` is for `MCPServer`."""
        self.bus = InMemorySubscriptionBus()
        self._outbox_for = outbox_for
        self._describe = describe
        self._followers: dict[str, Counter[Notify]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def follow_while_listening(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Middleware: follow the emails of a ``subscriptions/listen`` until its stream ends."""
        if ctx.method != "subscriptions/listen":
            return await call_next(ctx)
        outbox = self._outbox_for(*client_of(ctx.session))
        async with AsyncExitStack() as stack:
            for uri in _read_uris(ctx.params)[:MOST_FOLLOWED_BY_ONE]:
                with contextlib.suppress(OutspoolError):  # the protocol has no error for this
                    await stack.enter_async_context(self._follow_within(outbox, uri, self._publish))
            return await call_next(ctx)

    async def subscribe(self, ctx: ServerRequestContext[Any, Any], params: SubscribeRequestParams) -> EmptyResult:
        """Handle ``resources/subscribe``."""
        outbox = self._outbox_for(*client_of(ctx.session))
        connection = connection_of(ctx.session)
        uri = str(params.uri)
        followed_uris: dict[str, AsyncExitStack] | None = connection.state.get(_STATE)
        if followed_uris is None:
            followed_uris = connection.state[_STATE] = {}
            connection.exit_stack.push_async_callback(_unfollow_all, followed_uris)
        if uri not in followed_uris:
            followed_uris[uri] = stack = AsyncExitStack()  # count it before awaiting the database
            try:
                _check_share(len(followed_uris))
                await stack.enter_async_context(self._follow_within(outbox, uri, connection.send_resource_updated))
            except BaseException as error:
                followed_uris.pop(uri, None)
                if isinstance(error, OutspoolError):
                    raise MCPError(code=INVALID_PARAMS, message=self._describe(error), data={"uri": uri}) from None
                raise
            if followed_uris.get(uri) is not stack:
                await stack.aclose()  # unsubscribed meanwhile
        return EmptyResult()

    async def unsubscribe(self, ctx: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams) -> EmptyResult:
        """Handle ``resources/unsubscribe``; does nothing if the email is not followed."""
        connection = connection_of(ctx.session)
        if stack := connection.state.get(_STATE, {}).pop(str(params.uri), None):
            await stack.aclose()
        return EmptyResult()

    @asynccontextmanager
    async def _follow_within(self, outbox: Outbox, uri: str, notify: Notify) -> AsyncIterator[None]:
        """Call `notify` for each change of the email within the block. Raises as `Outbox.version` does."""
        if uri not in self._tasks and len(self._tasks) >= MOST_FOLLOWED:
            raise InvalidArgument(f"{MOST_FOLLOWED} emails are followed already.", "Ask get_status now and then.")
        version = await outbox.version(_email_id(uri))
        followers = self._followers.setdefault(uri, Counter())
        followers[notify] += 1
        if uri not in self._tasks:
            self._tasks[uri] = asyncio.create_task(self._follow(outbox, uri, version), name=f"follow {uri}")
        try:
            yield
        finally:
            followers[notify] -= 1
            if followers[notify] <= 0:
                del followers[notify]
            if not followers:
                del self._followers[uri]
                self._tasks.pop(uri).cancel()

    async def _follow(self, outbox: Outbox, uri: str, version: int) -> None:
        try:
            while True:
                version = await outbox.next_version(_email_id(uri), after=version)
                for notify in tuple(self._followers.get(uri, ())):
                    await notify(uri)
        except Exception:
            log.exception("lost sight of %s", uri)

    async def _publish(self, uri: str) -> None:
        await self.bus.publish(ResourceUpdated(uri=uri))


async def _unfollow_all(followed_uris: dict[str, AsyncExitStack]) -> None:
    """End all subscriptions of a connection."""
    while followed_uris:
        _, stack = followed_uris.popitem()
        await stack.aclose()


def _check_share(followed_uris: int) -> None:
    if followed_uris > MOST_FOLLOWED_BY_ONE:
        raise InvalidArgument(
            f"This session follows {MOST_FOLLOWED_BY_ONE} emails already.", "Unsubscribe from one, or ask get_status."
        )


def _email_id(uri: str) -> str:
    found = _EMAIL.fullmatch(uri)
    if found is None:
        raise InvalidArgument(f"{brief(uri)} is nothing to follow.", "Follow email://{email_id}.")
    return found[1]


def _read_uris(params: Mapping[str, Any] | None) -> list[str]:
    """Return the URIs in the parameters of a ``subscriptions/listen``, without duplicates, unvalidated."""
    notifications = (params or {}).get("notifications")
    uris = notifications.get("resourceSubscriptions") if isinstance(notifications, dict) else None
    return list(dict.fromkeys(uri for uri in uris if isinstance(uri, str))) if isinstance(uris, list) else []
