"""The doctor's checks of the database, the disk and the queue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from outspool.domain.schedule import describe_wait
from outspool.domain.setting import Setting
from outspool.ports.database import Backlog, DatabaseHealth, DiskState, SchemaState, Unreadable
from outspool.ports.queue import WorkerHeartbeat
from outspool.services.delivery.lease_keeper import WORST_SKEW, describe_skew
from outspool.services.doctor.findings import Finding, fail, ok, warn

_MEGABYTE = 1024 * 1024
_NEARLY_FULL = 20 * _MEGABYTE
_LITTLE_LEFT = 500 * _MEGABYTE
_LATE = timedelta(minutes=1)
"""An email due for longer than this without an attempt is late."""


def check_disk(disk: DiskState) -> Finding:
    """Check that the disk has room for the outbox."""
    free = f"{disk.free_bytes // _MEGABYTE:,} MB are free"
    if disk.trouble:
        return fail(
            "disk", f"{disk.folder} cannot be written to: {disk.trouble}.", f"Set {Setting.DATA_FOLDER} elsewhere."
        )
    if disk.free_bytes < _NEARLY_FULL:
        return fail("disk", f"Only {free} at {disk.folder}.", "Free some space: a full disk accepts no email.")
    if disk.free_bytes < _LITTLE_LEFT:
        return warn("disk", f"Only {free} at {disk.folder}.", "Free some space.")
    return ok("disk", f"{disk.folder} can be written to; {free}.")


def check_access(open_folders: Sequence[str]) -> Finding:
    """Check that other users cannot access the outbox's folders; `open_folders` has a clause for each."""
    if open_folders:
        return warn(
            "access", f"{'; '.join(open_folders)}.", f"Run chmod 700 on it, or set {Setting.DATA_FOLDER} elsewhere."
        )
    return ok("access", "No other user can read the folders of the outbox.")


def check_database(address: str, health: DatabaseHealth, *, now: datetime) -> Iterator[Finding]:
    """Check response time, schema revision and clock."""
    answers = "not made yet" if health.seconds is None else f"answers in {health.seconds * 1000:.1f} ms"
    yield ok("database", f"{address}; {answers}.")
    yield _schema(health)
    if health.clock is not None:
        yield _clocks(health.clock, now)
    if health.asynchronous_standbys:
        yield warn(
            "standby",
            f"A standby is asynchronous: {', '.join(health.asynchronous_standbys)}. Failing over to it loses what was "
            "accepted last, and sends again what was sent last.",
            "Set synchronous_standby_names and leave synchronous_commit on; docs/failover.md says what it costs.",
        )


def _schema(health: DatabaseHealth) -> Finding:
    match health.schema:
        case SchemaState.CURRENT:
            return ok("migrations", f"The schema is up to date (revision {health.revision}).")
        case SchemaState.EMPTY:
            return ok("migrations", "The database is empty; the first start sets it up.")
        case SchemaState.BEHIND:
            return warn(
                "migrations",
                f"The schema is behind, at revision {health.revision}.",
                "Run `outspool migrate`; the next start of any outspool does it too.",
            )
        case SchemaState.UNKNOWN:
            return fail(
                "migrations",
                f'The schema is of revision "{health.revision}", which this outspool does not know.',
                "Upgrade outspool if a newer one made it; if another program did, use a database of its own.",
            )
        case SchemaState.UNVERSIONED:
            return fail(
                "migrations",
                "There are tables of an outbox, but nothing says of which revision: outspool_version is missing.",
                "Restore the database from a backup, or use an empty one.",
            )


def _clocks(database: datetime, machine: datetime) -> Finding:
    difference = abs(database - machine)
    if difference <= WORST_SKEW:
        return ok("clock", f"This machine and the database agree within {max(difference.total_seconds(), 0.1):.1f} s.")
    return warn(
        "clock",
        f"The clocks are {difference.total_seconds():.0f} s apart: here it is {machine:%H:%M:%S}, "
        f"in the database {database:%H:%M:%S} (UTC).",
        "Set both by NTP: the database's clock decides what is due.",
    )


def check_dispatching(workers: Sequence[WorkerHeartbeat], backlog: Backlog, *, now: datetime) -> Finding:
    """Report which workers send due emails."""
    if workers:
        names = ", ".join(f"{w.name} ({max((now - w.seen_at).total_seconds(), 0):.0f} s ago)" for w in workers)
        return ok("dispatching", f"Seen alive: {names}.")
    fix = "Start `outspool worker`, or any `outspool` or `outspool serve` without --no-worker."
    if backlog.due:
        return fail("dispatching", f"Nobody is sending, and {_emails(backlog.due, 'is', 'are')} due.", fix)
    if backlog.later:
        return warn("dispatching", f"Nobody is sending, and {_emails(backlog.later, 'waits', 'wait')} for later.", fix)
    return ok("dispatching", "Nobody is sending just now, and nothing waits to be sent.")


def check_worker_clocks(workers: Sequence[WorkerHeartbeat]) -> Iterator[Finding]:
    """Name workers whose clock differs from the database's, which decides leases and due times."""
    wrong = [(w.name, w.skew) for w in workers if w.skew is not None and abs(w.skew) > WORST_SKEW]
    if wrong:
        named = ", ".join(f"{name} ({describe_skew(skew)})" for name, skew in wrong)
        yield warn(
            "worker clocks",
            f"The clock is wrong where these run: {named}.",
            "Set it by NTP there; until then the database's clock decides, as it does for all.",
        )


def check_queue(backlog: Backlog, *, now: datetime) -> Iterator[Finding]:
    """Report late emails, and emails that need a person's decision."""
    if backlog.due and backlog.oldest_due is not None and now - backlog.oldest_due > _LATE:
        age = describe_wait(backlog.oldest_due, now).removeprefix("in ")
        yield warn(
            "queue",
            f"{_emails(backlog.due, 'is', 'are')} due, the oldest for {age}.",
            "The lines above say why; if they are all ok, start more workers.",
        )
    else:
        yield ok("queue", f"{_emails(backlog.due, 'is', 'are')} due, {backlog.later:,} for later.")
    if backlog.elsewhere:
        yield warn(
            "senders",
            f"{_emails(backlog.elsewhere, 'waits', 'wait')} for an outspool that sends as somebody else.",
            "Run one with that sender or account, or cancel them: `outspool list` shows them.",
        )
    if backlog.in_doubt:
        yield warn(
            "unknown",
            f"{_emails(backlog.in_doubt, 'was', 'were')} handed over without an answer: sent, or not.",
            "See `outspool list --status unknown` and ask the recipients; `outspool retry ID` sends one again.",
        )


def check_readable(unreadable: Unreadable) -> Iterator[Finding]:
    """Name emails whose rows cannot be read; these are never sent."""
    if not unreadable.count:
        return
    named = "; ".join(f"{name}: {why}" for name, why in unreadable.examples)
    more = (
        f" And {unreadable.count - len(unreadable.examples):,} more."
        if unreadable.count > len(unreadable.examples)
        else ""
    )
    yield fail(
        "unreadable",
        f"{_emails(unreadable.count, 'cannot', 'cannot')} be read from the database. {named}{more}",
        "Mend the rows and run `outspool retry ID`, or `outspool cancel ID`; everybody else's mail goes on.",
    )


def _emails(count: int, one: str, many: str) -> str:
    return f"1 email {one}" if count == 1 else f"{count:,} emails {many}"
