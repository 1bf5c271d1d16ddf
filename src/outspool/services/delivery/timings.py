"""Every interval and timeout of a worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """The intervals of one process. A timedelta is measured by the `Clock`, ``…_seconds`` by the event loop.

    All processes on one database should use the same `lease`. It should be at least three heartbeats, so that one may
    be missed.
    """

    lease: timedelta = timedelta(seconds=30)
    """Length of a claim without heartbeat; afterwards a dead worker's emails are rescued."""
    beat_seconds: float = 10.0
    """Between two heartbeats; each also rescues the emails of dead workers."""
    poll_seconds: float = 5.0
    """Between two polls; a lost notification delays an email by at most this."""
    store_retry_seconds: float = 1.0
    """Between two attempts at an unavailable database."""
    probe: timedelta = timedelta(seconds=60)
    """How long a probe may take before another process may probe."""
    grace_seconds: float = 10.0
    """How long a stop waits for running deliveries."""
    last_claim_seconds: float = 2.0
    """How long a stop waits for a running claim."""
    last_words_seconds: float = 5.0
    """How long after a stop an interrupted delivery may take to record its outcome."""
