"""The statuses of an email and the one table of transitions that guards every write.

================  =============================================================
status            means
================  =============================================================
``held``          waits for a person's approval
``scheduled``     waits for a time to come
``queued``        due now
``deferred``      waits for another attempt (4xx, network, account paused)
``sending``       claimed by a worker
``unknown``       marked, and no reply: the server may have it (RFC 1047)
``sent``          the next server took responsibility for every recipient
``partial``       taken for some, refused for good (or stopped) for others
``failed``        refused for good, or out of retries or time
``canceled``      never sent, and never will be
``bounced``       a bounce came back later
``recurring``     a series: makes an email at each of its times
``paused``        a series that makes none until it is resumed
``ended``         a series that has made its last
``unreadable``    its row cannot be read, so it is set aside for a person
================  =============================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class EmailStatus(StrEnum):
    """The status of an email."""

    HELD = "held"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    SENDING = "sending"
    DEFERRED = "deferred"
    SENT = "sent"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELED = "canceled"
    UNKNOWN = "unknown"
    BOUNCED = "bounced"
    RECURRING = "recurring"
    PAUSED = "paused"
    ENDED = "ended"
    UNREADABLE = "unreadable"


UNREACHED = frozenset({EmailStatus.HELD, EmailStatus.BOUNCED})
"""Statuses that no email gets in this version, so that no face offers them."""


class RecipientStatus(StrEnum):
    """The status of one recipient."""

    PENDING = "pending"
    DEFERRED = "deferred"
    SENT = "sent"
    FAILED = "failed"
    UNKNOWN = "unknown"


S = EmailStatus

TRANSITIONS: Mapping[EmailStatus, frozenset[EmailStatus]] = MappingProxyType(
    {
        S.HELD: frozenset({S.SCHEDULED, S.QUEUED, S.CANCELED}),
        S.SCHEDULED: frozenset({S.SENDING, S.HELD, S.CANCELED, S.UNREADABLE}),
        # SCHEDULED: rescheduled by update_email before it was claimed.
        S.QUEUED: frozenset({S.SENDING, S.SCHEDULED, S.CANCELED, S.UNREADABLE}),
        # PARTIAL: canceled after some recipients got it, which "canceled" would deny.
        S.DEFERRED: frozenset({S.SENDING, S.FAILED, S.PARTIAL, S.CANCELED, S.UNREADABLE}),
        S.SENDING: frozenset({S.SENT, S.PARTIAL, S.DEFERRED, S.FAILED, S.UNKNOWN, S.QUEUED, S.UNREADABLE}),
        S.UNKNOWN: frozenset({S.QUEUED, S.SENT, S.PARTIAL, S.FAILED, S.DEFERRED, S.CANCELED}),
        S.SENT: frozenset({S.BOUNCED}),
        S.PARTIAL: frozenset({S.QUEUED, S.BOUNCED}),
        S.FAILED: frozenset({S.QUEUED}),
        S.CANCELED: frozenset(),
        S.BOUNCED: frozenset(),
        S.RECURRING: frozenset({S.PAUSED, S.ENDED, S.CANCELED, S.UNREADABLE}),
        S.PAUSED: frozenset({S.RECURRING, S.CANCELED}),
        S.ENDED: frozenset(),
        # By an operator, who has repaired the row or gives it up.
        S.UNREADABLE: frozenset({S.QUEUED, S.CANCELED}),
    }
)
"""Every allowed change of status.

``unknown`` can still become any outcome of a delivery: the worker that lost the database, and only it, may learn the
server's reply late. The last three statuses belong to series, which are never sent themselves.
"""

WAITING = frozenset({S.HELD, S.SCHEDULED, S.QUEUED, S.DEFERRED, S.RECURRING, S.PAUSED})
"""No worker has it: it can be updated, rescheduled or canceled."""

CLAIMABLE = frozenset({S.SCHEDULED, S.QUEUED, S.DEFERRED})
"""Statuses that the claim statement selects."""

UNSETTLED = frozenset({S.QUEUED, S.SENDING})
"""The outcome is imminent, so callers who wait for it go on waiting."""


def sources(target: EmailStatus) -> frozenset[EmailStatus]:
    """Return the statuses that may become `target`; every guarded write checks them."""
    return frozenset(source for source, targets in TRANSITIONS.items() if target in targets)
