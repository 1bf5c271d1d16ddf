"""Whether files can be kept in a folder; finding out leaves no trace."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from outspool.adapters.files.private_files import access_of_others
from outspool.ports.database import DiskState


def disk_state(folder: Path) -> DiskState:
    """Return how `folder` fares; if it does not exist yet, how the one fares that it would be made in."""
    folder = folder.expanduser().absolute()
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    return DiskState(
        folder=str(folder), free_bytes=shutil.disk_usage(existing).free, trouble=_trouble(existing, folder)
    )


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
