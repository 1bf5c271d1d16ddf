"""Detects that the database file was removed or replaced while it was open."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from outspool.errors import StoreMisconfigured

_FIX = "Restart every outspool on it once the right file is back; `outspool doctor` says what it holds."
_NEWEST = "SELECT max(id) FROM events"


class FileIdentity:
    """Identifies a database file by device and inode, and by the newest event this process wrote to it."""

    def __init__(self, path: Path) -> None:
        """Remember the path; the first `check` records the identity."""
        self._path = path
        self.forget()

    def forget(self) -> None:
        """Forget the identity, because the file was closed: the next `check` records it again."""
        self._identity: tuple[int, int] | None = None
        self._version: tuple[int, int] | None = None
        self._newest = 0

    def check(self) -> None:
        """Raise `StoreMisconfigured` if the file is gone, or is not the one of the first check.

        Writes to a removed file are lost with the process, so they must not be reported as done.
        """
        identity, version = self._stat()
        if self._identity is None:
            self._identity, self._version = identity, version
        elif identity != self._identity:
            raise self._error("replaced")
        elif version != self._version:
            self._check_content()
            self._version = version

    def note(self, newest: int) -> None:
        """Remember the id of the newest event after a commit of this process."""
        self._newest = max(self._newest, newest)
        _, self._version = self._stat()

    def _stat(self) -> tuple[tuple[int, int], tuple[int, int]]:
        try:
            stat = self._path.stat()
        except OSError:
            raise self._error("removed") from None
        return (stat.st_dev, stat.st_ino), (stat.st_mtime_ns, stat.st_size)

    def _check_content(self) -> None:
        """Check through a new connection, which has no cache, that the file still has this process's newest event.

        Other processes change the file too, when they checkpoint the log, but they remove nothing.
        """
        try:
            with contextlib.closing(sqlite3.connect(self._path, timeout=10)) as connection:
                newest = connection.execute(_NEWEST).fetchone()[0] if self._newest else 0
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                return  # another process is writing; the next check will see it
            raise self._error("overwritten") from None
        except sqlite3.DatabaseError:
            raise self._error("overwritten") from None
        if (newest or 0) < self._newest:
            raise self._error("overwritten")

    def _error(self, change: str) -> StoreMisconfigured:
        return StoreMisconfigured(
            f"The database file {self._path} was {change} while outspool ran. Nothing was changed.", _FIX
        )


def newest_event(connection: Any) -> int:
    """Return the id of the newest event through an sqlite3 connection; 0 if there is none."""
    try:
        return int(connection.execute(_NEWEST).fetchone()[0] or 0)
    except sqlite3.OperationalError:
        return 0  # before the first migration
