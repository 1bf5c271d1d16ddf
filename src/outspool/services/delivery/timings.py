"""How often a dispatcher looks, how long its claims hold, and how patient its end is: one place for every wait."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """The rhythm of one process. A timedelta passes by the `Clock`, ``…_seconds`` by the event loop.

    All processes on a database should keep the same `lease`, and three heartbeats should fit into it, so that one may
    be missed.
    """

    lease: timedelta = timedelta(seconds=30)
    """How long a claim holds without a heartbeat; a dead worker's emails are free again after this."""
    beat_seconds: float = 10.0
    """Between two heartbeats, each followed by a look for what dead workers hold."""
    poll_seconds: float = 5.0
    """How long a notice that went missing can delay an email."""
    store_retry_seconds: float = 1.0
    """Between two looks at a database that is away."""
    probe: timedelta = timedelta(seconds=60)
    """How long the trial of an account in trouble may take before another process may try."""
    grace_seconds: float = 10.0
    """How long a stop waits for what is on the wire."""
    last_claim_seconds: float = 2.0
    """How long a stop waits for a claim under way; a database that answers needs a fraction of it."""
    last_words_seconds: float = 5.0
    """How long the outcome of what a stop cuts short may take to be recorded."""
