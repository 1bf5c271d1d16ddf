"""The memory of abandoned calls, shared by all processes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from outspool.domain.principal import Scope


class AbandonedCalls(Protocol):
    """Calls whose client left before it got the answer, each with the emails it had accepted.

    A call is a digest, 64 characters, of the caller and the arguments. The scope's owner is the call's user. Raises
    like `EmailStore`.
    """

    async def remember(
        self, call: str, email_ids: Sequence[UUID], scope: Scope, *, at: datetime, since: datetime
    ) -> None:
        """Record a call that was abandoned `at` (UTC), and forget those of before `since`."""
        ...

    async def list_recent(self, scope: Scope, *, since: datetime) -> Collection[str]:
        """Return the calls that were abandoned since then."""
        ...

    async def take(self, call: str, scope: Scope, *, since: datetime) -> Sequence[UUID]:
        """Forget the call, and return the emails it had accepted; none if it was not abandoned since then.

        Of two that take the same call at once, one gets the emails.
        """
        ...
