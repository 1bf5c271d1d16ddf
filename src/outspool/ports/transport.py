"""The transport that delivers one message to the next server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from outspool.domain.delivery import Delivery


@dataclass(frozen=True, slots=True)
class Stream:
    """A message too large for memory: `size` octets of ASCII in CRLF lines, in `chunks` that can be read once."""

    chunks: AsyncIterator[bytes]
    size: int


class Transport(Protocol):
    """Delivers a composed message to the next server."""

    async def deliver(
        self,
        message: bytes | Stream,
        *,
        sender: str,
        recipients: Sequence[str],
        before_data: Callable[[], Awaitable[None]],
    ) -> Delivery:
        """Send `message` to `recipients`; return the outcome of each.

        `before_data` is awaited after at least one recipient was accepted and before ``DATA``. If it raises, or the
        chunks of a `Stream` do, nothing is sent and the exception is raised. Raises `AccountTrouble` if the account,
        not the message, is at fault; nothing was sent.
        """
        ...

    def abandon_silent(self) -> None:
        """Cancel deliveries that wait for a server that does not answer: a stop need not wait for them."""
        ...

    async def close(self) -> None:
        """Send ``QUIT`` on idle connections and close them."""
        ...
