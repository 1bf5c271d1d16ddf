"""The HTTP session of the S3 client: follows no redirects, and has a timeout for everything.

aiobotocore lets aiohttp follow redirects, so whoever answers for the bucket could have an upload sent to another
server. S3's own redirects are handled above HTTP by the client, which signs and sends again. aiobotocore also lets a
silent server hold an upload forever, before the first byte (``Expect: 100-continue``) or between two.

Importing this module loads aiohttp, so it is imported with the first connection.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from aiobotocore.httpsession import AIOHTTPSession

REQUEST_SECONDS = 60.0
"""Longest time from a request's first byte to the response's head; a request has at most one part."""


class SteadySession(AIOHTTPSession):  # type: ignore[misc] # it has no types
    """The session through which the S3 client sends its requests."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)

        async def request(method: str, *, headers: Any, **options: Any) -> Any:
            headers.pop("Expect", None)
            async with asyncio.timeout(REQUEST_SECONDS):
                return await session.request(method, headers=headers, allow_redirects=False, **options)

        return SimpleNamespace(request=request)
