"""Delays before the next attempt of an email, and pauses of an account.

`random` returns floats in [0, 1). Delays vary by ±10 %, so that emails that failed together are not retried together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from outspool.errors import MisconfiguredError, TroubleKind

LONGEST_DELAY = timedelta(hours=4)
"""Delays stop doubling here (before jitter)."""

_JITTER = 0.1
_MAX_DOUBLINGS = 30  # beyond every cap, and no overflow


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Number and spacing of retries.

    At most `max_retries` follow the first attempt, `delays` apart; after those the last one doubles, up to
    `LONGEST_DELAY`. Raises `MisconfiguredError` for a negative number, and for missing or non-positive delays.
    """

    max_retries: int = 3
    delays: tuple[timedelta, ...] = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30))

    def __post_init__(self) -> None:
        """Reject invalid values."""
        if self.max_retries < 0:
            raise MisconfiguredError(f"The number of retries cannot be {self.max_retries}.", "Use 0 for none.")
        if not self.delays or min(self.delays) <= timedelta():
            raise MisconfiguredError("The delays between retries must be longer than nothing.")

    def next_delay(self, attempts: int, random: Callable[[], float]) -> timedelta | None:
        """Return the delay after the attempt number `attempts` (at least 1); None to give up."""
        if attempts < 1:
            raise ValueError("no attempt was made yet")
        if attempts > self.max_retries:
            return None
        if attempts <= len(self.delays):
            return _add_jitter(self.delays[attempts - 1], random)
        last = self.delays[-1]
        return _add_jitter(_double(last, attempts - len(self.delays), cap=max(last, LONGEST_DELAY)), random)


@dataclass(frozen=True, slots=True)
class _Pause:
    first: timedelta
    longest: timedelta


# Providers lock an account after a few wrong passwords an hour, so a refused login pauses longest.
_PAUSES: Mapping[TroubleKind, _Pause] = MappingProxyType(
    {
        TroubleKind.NETWORK: _Pause(timedelta(seconds=2), timedelta(minutes=5)),
        TroubleKind.TLS: _Pause(timedelta(minutes=1), timedelta(minutes=30)),
        TroubleKind.LOGIN: _Pause(timedelta(minutes=10), timedelta(hours=1)),
        TroubleKind.THROTTLED: _Pause(timedelta(minutes=5), timedelta(hours=1)),
    }
)


def compute_account_pause(kind: TroubleKind, failures: int, random: Callable[[], float]) -> timedelta:
    """Return the pause after `failures` (at least 1) in a row, the last of `kind`.

    Each failure doubles the pause up to a cap: network 2 s to 5 min, TLS 1 to 30 min, login 10 min to 1 h, throttled 5
    min to 1 h (before jitter).
    """
    if failures < 1:
        raise ValueError("the account did not fail")
    pause = _PAUSES[kind]
    return _add_jitter(_double(pause.first, failures - 1, cap=pause.longest), random)


def _double(first: timedelta, times: int, *, cap: timedelta) -> timedelta:
    # Computed in seconds, because a long delay doubled often would overflow a timedelta.
    seconds = first.total_seconds() * 2 ** min(times, _MAX_DOUBLINGS)
    return cap if seconds >= cap.total_seconds() else timedelta(seconds=seconds)


def _add_jitter(delay: timedelta, random: Callable[[], float]) -> timedelta:
    return delay * (1 - _JITTER + 2 * _JITTER * random())
