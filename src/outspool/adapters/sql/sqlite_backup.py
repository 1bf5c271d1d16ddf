"""Copies an SQLite outbox while it is in use, and puts a copy back without sending anything twice."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from outspool.errors import InvalidArgument, MisconfiguredError

_TAKEN = "outspool_backup"
"""The table in a backup that says when it was taken; an outbox has none."""
_NEWEST = "SELECT max(at) FROM events"
_PAGES = 4096
_SIDES = ("-wal", "-shm")


def take_backup(database: Path, target: Path, *, now: datetime) -> None:
    """Write a consistent copy of the outbox to `target`, which must not exist; for its owner's eyes alone.

    Other processes go on meanwhile. Raises `InvalidArgument` when there is no outbox, or `target` exists, or cannot be
    written.
    """
    if not database.is_file():
        raise InvalidArgument(f"There is no outbox at {database} yet.", "Nothing was copied.")
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise InvalidArgument(f"{target} exists already.", "Name a file that does not; nothing was copied.") from None
    except OSError as error:
        raise InvalidArgument(f"{target} cannot be written: {error.strerror}.", "Nothing was copied.") from None
    try:
        _copy(database, target)
        with _open(target) as copy:
            copy.execute(f"CREATE TABLE {_TAKEN} (at TEXT NOT NULL)")
            copy.execute(f"INSERT INTO {_TAKEN} VALUES (?)", [now.astimezone(UTC).isoformat()])  # noqa: S608
        _sync(target)
    except (sqlite3.Error, OSError) as error:
        target.unlink(missing_ok=True)
        raise InvalidArgument(f"The outbox could not be copied: {error}.", "Run `outspool doctor`.") from None


def stage_restore(backup: Path, database: Path) -> tuple[Path, datetime]:
    """Copy a backup beside the outbox and return that copy, with the time when the backup was taken (UTC).

    A copy by ``sqlite3 .backup`` will do; of that the time is the newest that it holds. Raises `InvalidArgument` when
    `backup` is no whole outbox.
    """
    if not backup.is_file():
        raise InvalidArgument(f"There is no file {backup}.", "Nothing was restored.")
    staged = database.with_name(f"{database.name}.restoring")
    staged.unlink(missing_ok=True)
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(staged, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        _copy(backup, staged)
        with _open(staged) as copy:
            _check(copy)
            taken_at = _time_of(copy)
            copy.execute(f"DROP TABLE IF EXISTS {_TAKEN}")
    except (sqlite3.Error, ValueError) as error:
        staged.unlink(missing_ok=True)
        raise InvalidArgument(
            f"{backup} is no backup of an outbox: {error}.", "Nothing was restored; use another."
        ) from None
    return staged, taken_at


def fold_in(database: Path) -> None:
    """Move what is in the log into the file, while nobody writes, and let the file be whole by itself.

    Raises `MisconfiguredError` when somebody does. A damaged file is left as it is.
    """
    try:
        with _open(database) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise MisconfiguredError("An outspool is using the outbox.", "Stop it first.") from None
    except sqlite3.DatabaseError:
        pass


def put_in_place(staged: Path, database: Path, *, now: datetime) -> Path | None:
    """Move the outbox that is there out of the way, and the staged one to its place; return where the old one is.

    Whoever still has the old one open refuses to write from then on (`FileIdentity`). Raises `MisconfiguredError` when
    somebody is writing at this moment; nothing is moved then.
    """
    old: Path | None = None
    if database.exists():
        old = database.with_name(f"{database.name}.before-restore-{now:%Y%m%dT%H%M%S}")
        fold_in(database)
        database.rename(old)
        for side in _SIDES:
            with contextlib.suppress(FileNotFoundError):
                database.with_name(database.name + side).rename(old.with_name(old.name + side))
    for side in _SIDES:
        staged.with_name(staged.name + side).unlink(missing_ok=True)
    staged.rename(database)
    _sync(database.parent)
    return old


def _copy(source: Path, target: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as read,
        contextlib.closing(sqlite3.connect(target, isolation_level=None)) as write,
    ):
        read.backup(write, pages=_PAGES)
        write.execute("PRAGMA journal_mode=DELETE")  # so that the file is whole by itself


def _open(path: Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(path, isolation_level=None))


def _check(copy: sqlite3.Connection) -> None:
    damage = [line for (line,) in copy.execute("PRAGMA quick_check(3)") if line != "ok"]
    if damage:
        raise ValueError(f"it is damaged, {str(damage[0])[:100]}")


def _time_of(copy: sqlite3.Connection) -> datetime:
    tables = {name for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "emails" not in tables or "outspool_version" not in tables:
        raise ValueError("it has no tables of outspool")
    if _TAKEN in tables:
        return datetime.fromisoformat(copy.execute(f"SELECT max(at) FROM {_TAKEN}").fetchone()[0])  # noqa: S608
    newest = copy.execute(_NEWEST).fetchone()[0]
    return datetime.fromisoformat(newest).replace(tzinfo=UTC) if newest else datetime(1970, 1, 1, tzinfo=UTC)


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
