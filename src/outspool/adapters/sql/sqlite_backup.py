"""Backs up an SQLite outbox while it is in use, and restores it without sending anything twice."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from outspool.errors import InvalidArgument, MisconfiguredError

_BACKUP_TABLE = "outspool_backup"
"""The table in a backup that holds its time; an outbox has no such table."""
_NEWEST = "SELECT max(at) FROM events"
_PAGES = 4096
_SIDES = ("-wal", "-shm")


def take_backup(database: Path, target: Path, *, now: datetime) -> None:
    """Write a consistent copy of the outbox to `target`, readable by the owner only.

    Other processes may go on writing. Raises `InvalidArgument` if there is no outbox, or `target` exists or cannot be
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
            copy.execute(f"CREATE TABLE {_BACKUP_TABLE} (at TEXT NOT NULL)")
            copy.execute(f"INSERT INTO {_BACKUP_TABLE} VALUES (?)", [now.astimezone(UTC).isoformat()])  # noqa: S608
        _sync(target)
    except (sqlite3.Error, OSError) as error:
        target.unlink(missing_ok=True)
        raise InvalidArgument(f"The outbox could not be copied: {error}.", "Run `outspool doctor`.") from None


def stage_restore(backup: Path, database: Path) -> tuple[Path, datetime]:
    """Copy a backup next to the outbox; return the copy's path and the backup's time (UTC).

    A copy made by ``sqlite3 .backup`` is accepted: its time is that of its newest event. Raises `InvalidArgument` if
    `backup` is not a complete outbox.
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
            taken_at = _read_time(copy)
            copy.execute(f"DROP TABLE IF EXISTS {_BACKUP_TABLE}")
    except (sqlite3.Error, ValueError) as error:
        staged.unlink(missing_ok=True)
        raise InvalidArgument(
            f"{backup} is no backup of an outbox: {error}.", "Nothing was restored; use another."
        ) from None
    return staged, taken_at


def fold_in(database: Path) -> None:
    """Checkpoint the log into the file and leave WAL mode, so that the file is complete by itself.

    Raises `MisconfiguredError` if another process is using it. A damaged file is left as it is.
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
    """Move the current outbox away and the staged one into its place; return the old one's new path.

    A process that still has the old file open refuses to write from then on (`FileIdentity`). Raises
    `MisconfiguredError`, with nothing moved, if another process is writing.
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
        write.execute("PRAGMA journal_mode=DELETE")  # no separate log file


def _open(path: Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(path, isolation_level=None))


def _check(copy: sqlite3.Connection) -> None:
    damage = [line for (line,) in copy.execute("PRAGMA quick_check(3)") if line != "ok"]
    if damage:
        raise ValueError(f"it is damaged, {str(damage[0])[:100]}")


def _read_time(copy: sqlite3.Connection) -> datetime:
    tables = {name for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "emails" not in tables or "outspool_version" not in tables:
        raise ValueError("it has no tables of outspool")
    if _BACKUP_TABLE in tables:
        return datetime.fromisoformat(copy.execute(f"SELECT max(at) FROM {_BACKUP_TABLE}").fetchone()[0])  # noqa: S608
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
