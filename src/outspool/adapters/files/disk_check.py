"""Checks whether files can be stored in a folder, without leaving a trace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from outspool.adapters.files.private_files import access_of_others
from outspool.ports.database import DiskState

_KEPT_OUT = 7
_PATIENCE_SECONDS = 10
_TRY_LOCK = f"""
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit({_KEPT_OUT})
"""


def disk_state(folder: Path, *, needs_locks: bool = False) -> DiskState:
    """Return the state of `folder`; if it does not exist, of the nearest existing folder above.

    With `needs_locks` (for an SQLite file) locks between processes are tried too.
    """
    folder = folder.expanduser().absolute()
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    trouble = _trouble(existing, folder)
    if not trouble and needs_locks and not has_working_locks(folder):
        trouble = "its file system has no locks that work, so that processes would break each other's writes"
    return DiskState(folder=str(folder), free_bytes=shutil.disk_usage(existing).free, trouble=trouble)


def has_working_locks(folder: Path, *, take: Callable[[int], None] | None = None) -> bool:
    """Tell whether a lock held by this process on a file in `folder` keeps other processes out.

    SQLite relies on it: without it, two processes write at once and corrupt the file silently. True if the folder does
    not exist, and on Windows, where locks do not depend on the file system. `take` locks an open file.
    """
    if sys.platform == "win32" or not folder.is_dir():
        return True
    import fcntl

    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".outspool-lock-") as file:
            if take is None:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                take(file.fileno())
            other = subprocess.run(  # noqa: S603 - this interpreter, and a text of ours
                [sys.executable, "-I", "-S", "-c", _TRY_LOCK, file.name],
                capture_output=True,
                timeout=_PATIENCE_SECONDS,
                check=False,
            )
            return other.returncode == _KEPT_OUT
    except (OSError, subprocess.TimeoutExpired):
        return False


def folders_open_to_others(folders: Iterable[Path]) -> list[str]:
    """Return a clause for each folder that other users of this machine can read or change."""
    paths = dict.fromkeys(folder.expanduser().absolute() for folder in folders)
    found = {path: access_of_others(path) for path in paths}
    return [f"{path}: {access}" for path, access in found.items() if access]


def _trouble(existing: Path, folder: Path) -> str:
    if not existing.is_dir():
        return f"{existing} is not a folder"
    if existing != folder:
        return "" if os.access(existing, os.W_OK | os.X_OK) else f"{existing} does not allow making it"
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"outspool")
            probe.flush()
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()
    return ""
