"""Whether a database file is still the one that was opened: somebody may remove it, or put another over it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from outspool.errors import StoreMisconfigured

_CURE = "Restart every outspool on it once the right file is back; `outspool doctor` says what it holds."
_NEWEST = "SELECT max(id) FROM events"


class FileIdentity:
    """Knows a database file by its device and inode, and by what this process last wrote to it."""

    def __init__(self, path: Path) -> None:
        """Look at nothing yet."""
        self._path = path
        self.forget()

    def forget(self) -> None:
        """Let the next look be the first: nothing is open any more."""
        self._seen: tuple[int, int] | None = None
        self._changed: tuple[int, int] | None = None
        self._newest = 0

    def check(self) -> None:
        """Raise `StoreMisconfigured` when the file is gone, or is another than at the first look.

        What is written to a file without a name is lost with the process, so nothing may be said to be done.
        """
        identity, changed = self._look()
        if self._seen is None:
            self._seen, self._changed = identity, changed
        elif identity != self._seen:
            raise self._error("replaced")
        elif changed != self._changed:
            self._check_content()
            self._changed = changed

    def note(self, newest: int) -> None:
        """Remember, after a commit of ours, the id of the newest event."""
        self._newest = max(self._newest, newest)
        _, self._changed = self._look()

    def _look(self) -> tuple[tuple[int, int], tuple[int, int]]:
        try:
            found = self._path.stat()
        except OSError:
            raise self._error("removed") from None
        return (found.st_dev, found.st_ino), (found.st_mtime_ns, found.st_size)

    def _check_content(self) -> None:
        """Look, past what is cached, whether the file still has what we wrote to it.

        Other processes change the file too, when they move the log into it; they take nothing away.
        """
        try:
            with contextlib.closing(sqlite3.connect(self._path, timeout=10)) as connection:
                newest = connection.execute(_NEWEST).fetchone()[0] if self._newest else 0
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                return  # by one that is at work on it, which will be seen next time
            raise self._error("overwritten") from None
        except sqlite3.DatabaseError:
            raise self._error("overwritten") from None
        if (newest or 0) < self._newest:
            raise self._error("overwritten")

    def _error(self, what: str) -> StoreMisconfigured:
        return StoreMisconfigured(
            f"The database file {self._path} was {what} while outspool ran. Nothing was changed.", _CURE
        )


def newest_event(connection: Any) -> int:
    """Return the id of the newest event, by a connection of `sqlite3`, 0 while there is none."""
    try:
        return int(connection.execute(_NEWEST).fetchone()[0] or 0)
    except sqlite3.OperationalError:
        return 0  # before the first migration
