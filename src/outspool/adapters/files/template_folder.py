"""Templates in a folder; nothing outside of it is read, whatever a template includes or a link points to."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

import outspool
from outspool.errors import TemplateError, brief

SHIPPED = Path(outspool.__file__).parent / "templates"
"""The templates that come with outspool."""

MAX_FILE_BYTES = 1_000_000

_NAME = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_-]{0,63}/){0,5}[A-Za-z0-9_][A-Za-z0-9_-]{0,63}\.(?:html|txt)")


class TemplateFolder:
    """The ``.html`` and ``.txt`` files of one folder; see `outspool.ports.files.TemplateSource`."""

    def __init__(self, folder: Path) -> None:
        """Read `folder` at every call, so that changes apply at once; it need not exist."""
        self._folder = folder

    def names(self) -> Sequence[str]:
        """Return the files in the folder itself, without names starting with ``_``, which are for inclusion."""
        try:
            found = sorted(path.name for path in self._folder.iterdir())
        except OSError:
            return ()
        return [name for name in found if _NAME.fullmatch(name) and not name.startswith("_")]

    def read(self, name: str) -> str | None:
        """Return the file's text; the name may include sub-folders: ``parts/footer.html``."""
        if not _NAME.fullmatch(name):
            return None
        try:
            path = (self._folder / name).resolve(strict=True)
            if not path.is_relative_to(self._folder.resolve()):
                raise TemplateError(f"The template file {brief(name)} is a link out of the template folder.")
            raw = _read_regular(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise TemplateError(f"The template file {brief(name)} cannot be read: {error.strerror}.") from None
        return _decode(raw, name)


def _read_regular(path: Path) -> bytes:
    """Read a regular file; refuse a FIFO, which could block forever."""
    with open(path, "rb", opener=lambda file, flags: os.open(file, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FileNotFoundError
        return file.read(MAX_FILE_BYTES + 1)


def _decode(raw: bytes, name: str) -> str:
    if len(raw) > MAX_FILE_BYTES:
        raise TemplateError(f"The template file {brief(name)} is larger than {MAX_FILE_BYTES:,} bytes.")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise TemplateError(f"The template file {brief(name)} is not UTF-8 text.", "Save it as UTF-8.") from None
