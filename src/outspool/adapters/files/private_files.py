"""Creates files and folders that only this user can read, from the start and whatever the umask.

A umask only removes permissions. So a file is created with its final permissions, which are then set once more in case
the umask removed the owner's.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

_FILE_MODE = 0o600
_FOLDER_MODE = 0o700
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_FOLLOW_NOTHING = getattr(os, "O_NOFOLLOW", 0)

SQLITE_SUFFIXES = ("", "-wal", "-shm", "-journal")
"""What SQLite appends to a database's name for its other files."""


def create_file(path: Path) -> int:
    """Create a new file, and return a descriptor to write to it. Raises `OSError`."""
    descriptor = os.open(path, _CREATE | _FOLLOW_NOTHING, _FILE_MODE)
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, _FILE_MODE)
    return descriptor


def create_folder(folder: Path) -> None:
    """Create `folder` and missing parents; an existing one keeps its mode. Raises `OSError`."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        try:
            path.mkdir(mode=_FOLDER_MODE)
        except FileExistsError:
            continue  # another process has just created it, privately
        path.chmod(_FOLDER_MODE)


def create_database_file(path: Path) -> None:
    """Create an empty SQLite file and its folder; restrict existing ones. Raises `OSError`.

    SQLite gives its other files the permissions of the database. An existing database is never opened here, because
    closing it would release this process's locks on it (POSIX ``fcntl``).

    If other users can write to the folder, they could place a file or link there and read what is written to it: that
    raises `OSError` too.
    """
    create_folder(path.parent)
    _check_owner(path)
    path = Path(os.path.realpath(path))  # SQLite would follow a dangling link and create a readable file
    create_folder(path.parent)
    try:
        os.close(create_file(path))
    except FileExistsError:
        beside = [path.with_name(path.name + suffix) for suffix in SQLITE_SUFFIXES]
        for file in beside:
            _check_owner(file)
        restrict(beside)


def restrict(paths: Iterable[Path]) -> None:
    """Remove other users' permissions from our files and folders that an earlier version created.

    Files of other users and missing files are left alone.
    """
    for path in paths:
        with contextlib.suppress(OSError):
            mode = path.stat().st_mode
            if mode & _OTHERS:
                path.chmod(_FOLDER_MODE if stat.S_ISDIR(mode) else _FILE_MODE)


def restrict_earlier_files(*, blobs: Path, sandbox: Path) -> None:
    """Restrict attachments and sandbox emails that versions before 0.2 left readable.

    Those created ``attachments/ab`` and each ``.eml`` file with the umask's permissions.
    """
    if blobs.is_dir():
        restrict([blobs])
        for folder in [path for path in _entries(blobs) if path.is_dir() and _is_open(path)]:
            restrict([folder, *_below(folder)])
    restrict(path for path in _entries(sandbox) if path.name.endswith(".eml") and not path.is_symlink())


def access_of_others(folder: Path) -> str:
    """Describe what other users can do in `folder`; empty if nothing, or if it does not exist."""
    if os.name == "nt":
        return ""  # Windows has ACLs, which `stat` does not report
    try:
        found = folder.stat()
    except OSError:
        return ""
    if found.st_uid not in (os.getuid(), 0):
        return "it belongs to another user"
    for user, shift in (("every user of this machine", 0), ("its group", 3)):
        rights = found.st_mode >> shift
        if rights & stat.S_IWOTH:
            return f"{user} can change what is in it"
        if rights & stat.S_IROTH:
            return f"{user} can read it"
    return ""


def _check_owner(path: Path) -> None:
    """Raise `OSError` for a file or link of an untrusted user."""
    if os.name == "nt":
        return
    try:
        owner = path.lstat().st_uid
    except FileNotFoundError:
        return
    trusted = {0, os.geteuid()}
    if os.geteuid() == 0:
        trusted.add(path.parent.stat().st_uid)  # root may work on another user's outbox
    if owner not in trusted:
        raise OSError(f"{path} belongs to another user")


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _below(folder: Path) -> Iterable[Path]:
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            if not path.is_symlink():
                yield path


def _is_open(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return bool(path.lstat().st_mode & _OTHERS)
    return False
