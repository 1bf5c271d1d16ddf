"""The circumstances that decide when a waiting email leaves: who sends it, and whether the account is paused."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from enum import Enum

from outspool.domain.times import format_time


class Senders(Enum):
    """The running processes that send this account's due emails."""

    LASTING = "lasting"
    """At least one that runs on when its clients leave: `outspool serve` or `outspool worker`."""
    WITH_CLIENT = "with_client"
    """Only ones that end with the app that started them over stdio."""
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """The SMTP account is paused `until` then (UTC), for this `reason`; `fix` is what to do.

    `needs_person`: trying again alone will not help, as with a wrong password.
    """

    until: datetime
    reason: str = ""
    fix: str = ""
    needs_person: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The facts about the sending of waiting emails; `zone` is the reader's, for emails without one.

    `silence` says that the server keeps a connection waiting just now; empty if it does not.
    """

    pause: Pause | None = None
    silence: str = ""
    senders: Senders = Senders.LASTING
    zone: tzinfo = field(default=UTC)

    def time(self, moment: datetime, zone: str | None = None) -> str:
        """Return the time in the email's `zone`, or else the reader's, and in UTC."""
        return format_time(moment, zone or self.zone)
