"""An outspool whose intervals are shortened to the speed of a trial."""

from __future__ import annotations

from datetime import timedelta

from chaos.scenario import BEAT_SECONDS, GRACE_SECONDS, LEASE_SECONDS
from chaos.tempo import Tempo

from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.ports.clock import Clock
from outspool.services.delivery.timings import Timings


def outspool(clock: Clock, tempo: Tempo) -> Outspool:
    """Return the outspool that the environment describes."""
    real = tempo.stretch
    timings = Timings(
        lease=timedelta(seconds=LEASE_SECONDS),
        probe=timedelta(seconds=LEASE_SECONDS),
        beat_seconds=BEAT_SECONDS * real,
        poll_seconds=0.5 * real,
        store_retry_seconds=0.2 * real,
        grace_seconds=GRACE_SECONDS * real,
        last_claim_seconds=0.5 * real,
        last_words_seconds=1.0 * real,
    )
    return Outspool(Settings.load(), clock=clock, timings=timings)
