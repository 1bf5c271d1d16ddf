"""The way out, for one message at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from outspool.domain.delivery import Delivery


@dataclass(frozen=True, slots=True)
class Stream:
    """A message too large to hold: `size` octets of ASCII in CRLF-ended lines, in `chunks` that can be had once."""

    chunks: AsyncIterator[bytes]
    size: int


class Transport(Protocol):
    """Carries a composed message to the next server."""

    async def deliver(
        self,
        message: bytes | Stream,
        *,
        sender: str,
        recipients: Sequence[str],
        before_data: Callable[[], Awaitable[None]],
    ) -> Delivery:
        """Offer `message` for `recipients`, and return what became of each.

        `before_data` is awaited after at least one recipient was taken and before ``DATA``; if it raises, nothing
        is sent and its exception comes through; likewise what the chunks of a `Stream` raise. Raises `AccountTrouble`
        when the account, not the message, is at fault; nothing was sent then either.
        """
        ...

    async def close(self) -> None:
        """Say ``QUIT`` on idle connections and close them."""
        ...
