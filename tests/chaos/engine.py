"""An outspool at the pace of a trial: every wait that real time imposes shrinks with the clocks."""

from __future__ import annotations

from datetime import timedelta

from chaos.scenario import BEAT_SECONDS, GRACE_SECONDS, LEASE_SECONDS

from outspool.app.runtime import Outspool
from outspool.ports import Clock
from outspool.services.pace import Pace
from outspool.settings import Settings

_PACE = Pace(
    lease=timedelta(seconds=LEASE_SECONDS),
    probe=timedelta(seconds=LEASE_SECONDS),
    beat_seconds=BEAT_SECONDS,
    poll_seconds=0.5,
    store_retry_seconds=0.2,
    grace_seconds=GRACE_SECONDS,
    last_claim_seconds=0.5,
    last_words_seconds=1.0,
)


def outspool(clock: Clock) -> Outspool:
    """Return the outspool that the environment describes."""
    return Outspool(Settings.load(), clock=clock, pace=_PACE)
