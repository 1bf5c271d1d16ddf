"""A limit on a sliding window: unlike a limit per calendar hour, it allows no burst at the border."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from outspool.domain.email import Problem
from outspool.domain.setting import Setting
from outspool.domain.times import format_utc
from outspool.errors import QuotaReached, RateLimited

HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """At most `most` (at least 1) in any `window`."""

    most: int
    window: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class FullQuota:
    """An account's daily quota that has no room `until` then (UTC), and in words why."""

    until: datetime
    problem: Problem


def rate_limit_error(cap: Cap, *, now: datetime, again_at: datetime) -> RateLimited:
    """Return the error for an email beyond the rate limit."""
    seconds = max(1, math.ceil((again_at - now).total_seconds()))
    return RateLimited(
        f"{cap.most} emails were accepted within {_describe_window(cap.window)}; {Setting.RATE_LIMIT} allows no more.",
        f"Nothing was stored. Try again after {seconds} s, at {format_utc(again_at)}; "
        "what waits already goes out as planned.",
        retry_after=seconds,
        retry_at=again_at,
    )


def describe_full_quota(cap: Cap, *, until: datetime) -> FullQuota:
    """Say why an email waits although its account works, and that there is room again `until` then."""
    problem = Problem(
        code=QuotaReached.code,
        message=f"The account's daily quota is used up: {cap.most} recipients in {_describe_window(cap.window)} "
        f"({Setting.DAILY_QUOTA}).",
        hint="It goes out by itself as soon as there is room.",
    )
    return FullQuota(until=until, problem=problem)


def quota_error(full: FullQuota) -> QuotaReached:
    """Return the same as an error to be raised."""
    return QuotaReached(full.problem.message, full.problem.hint, until=full.until)


def _describe_window(window: timedelta) -> str:
    return "60 minutes" if window == HOUR else f"{window // HOUR} hours"
