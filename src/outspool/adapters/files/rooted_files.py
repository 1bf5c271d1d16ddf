"""Files that may be attached by path: those below the operator's folders, and no others.

The path comes from a caller, and what it names can change between two looks. So all symbolic links are resolved first,
looking only below allowed folders. Then the file is opened step by step from such a folder, following no links:
whatever is exchanged meanwhile, the opened file is below that folder. Everything else is read from the one open
descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import unicodedata
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from outspool.adapters.blobs.integrity import CHUNK, changed_error, run_in_thread
from outspool.adapters.files.beneath import Beneath, LeadsOutError, Place, split
from outspool.domain.setting import Setting
from outspool.errors import AttachmentRefused, brief
from outspool.ports.files import SourceFile

_LONGEST_PATH = 4096
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""A scheme has at least two letters; one letter is a Windows drive."""
_CLOSE_ON_EXEC = getattr(os, "O_CLOEXEC", 0)
_FOLLOW_NOTHING = getattr(os, "O_NOFOLLOW", 0) | _CLOSE_ON_EXEC
_OPEN_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _FOLLOW_NOTHING
# Opening must not block on a pipe that nobody writes to, or on a terminal.
_OPEN_FILE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | _FOLLOW_NOTHING
_OPEN_FILE |= getattr(os, "O_BINARY", 0)


class RootedFiles:
    """The `Files` port below `roots`, excluding outspool's own files."""

    def __init__(
        self,
        roots: Sequence[Path],
        *,
        private: Path | None = None,
        own: Sequence[Path] = (),
        allows_hard_links: bool = False,
    ) -> None:
        """Take absolute folders; they may be links, and need not exist yet.

        `private` is outspool's own folder, `own` are its files anywhere. A file with several hard links is refused
        unless `allows_hard_links`, because another name may be outside the roots.
        """
        self._roots = tuple(roots)
        self._private_error = private
        self._own = tuple(own)
        self._allows_hard_links = allows_hard_links

    @asynccontextmanager
    async def open(self, path: str) -> AsyncIterator[SourceFile]:
        """See `Files.open`."""
        descriptor = await run_in_thread(self._open_descriptor, path)
        try:
            yield _Descriptor(descriptor, name=re.split(r"[/\\]" if os.name == "nt" else "/", path)[-1])
        finally:
            os.close(descriptor)

    def _open_descriptor(self, path: str) -> int:
        _check_text(path)
        if not self._roots:
            raise AttachmentRefused(
                "This server sends no files by path.",
                f"Give `text` or `content`; or the operator sets {Setting.ATTACHMENT_FOLDERS}, or stores the file with "
                "`outspool attach`, and you give its `blob`.",
            )
        try:
            place = self._resolve(path)
            descriptor = _walk(place.root, place.steps, path)
        except LeadsOutError:
            raise self._outside_error(path) from None
        except OSError as error:
            raise _unreadable_error(path, error) from None
        try:
            self._check_names(os.fstat(descriptor), path)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _resolve(self, path: str) -> Place:
        """Return the real place of `path`, without looking at anything outside the roots."""
        roots = {str(root): os.path.realpath(root) for root in self._roots}
        beneath = Beneath(roots, check=partial(self._check_privacy, path, self._private_folder()))
        if Path(path).is_absolute():
            candidates = [beneath.locate(path)]
        else:
            candidates = [(root, split(path)) for root in roots.values()]
        for root, steps in candidates:
            try:
                place = beneath.resolve(root, steps)
            except FileNotFoundError:
                continue
            if not place.steps:
                raise LeadsOutError  # the folder itself
            if os.open not in os.supports_dir_fd and os.path.realpath(str(place)) != str(place):
                raise LeadsOutError  # through something other than a link, such as a Windows junction
            if any(step.startswith(".") for step in place.steps):
                raise _private_error(path)  # hidden files often contain keys and passwords
            if path.endswith(os.sep):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            return place
        raise AttachmentRefused(
            f"There is no file {_quote_name(path)}.", "Check the path, or give `text` or `content`."
        )

    def _private_folder(self) -> tuple[str, tuple[int, int] | None] | None:
        """Return the private folder's path and its identity, by which other names (bind mounts) are recognised."""
        if self._private_error is None:
            return None
        real = os.path.realpath(self._private_error)
        try:
            return real, _identity(Path(real).stat())
        except OSError:
            return real, None

    def _check_privacy(self, path: str, private: tuple[str, tuple[int, int] | None] | None, place: Place) -> None:
        """Refuse paths in the private folder, existing or not, unless a folder within it is an explicit root."""
        if private is None or _is_below(place.root, private[0]):
            return
        if _is_below(f"{place}{os.sep}", private[0]) or _is_folder(str(place), private[1]):
            raise _private_error(path)

    def _check_names(self, found: os.stat_result, path: str) -> None:
        """Refuse a file that is ours under another name, or that has several hard links."""
        for own in self._own:
            with contextlib.suppress(OSError):
                if _identity(own.stat()) == _identity(found):
                    raise _private_error(path)
        if found.st_nlink > 1 and not self._allows_hard_links:
            raise AttachmentRefused(
                f"{_quote_name(path)} has several names (hard links), of which one may lie elsewhere.",
                "Copy what shall be sent to a file of its own.",
            )

    def _outside_error(self, path: str) -> AttachmentRefused:
        allowed = ", ".join(str(root) for root in self._roots)
        return AttachmentRefused(
            f"{_quote_name(path)} is not in a folder that files may be sent from.", f"Those are: {allowed}."
        )


class _Descriptor:
    """A `SourceFile` over an open descriptor of a regular file."""

    def __init__(self, descriptor: int, *, name: str) -> None:
        self._descriptor = descriptor
        self.name = name
        self.size = os.fstat(descriptor).st_size

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `SourceFile.chunks`."""
        position = 0
        while chunk := await run_in_thread(self._read, position):
            position += len(chunk)
            if position > self.size:
                break
            yield chunk
        # A file that is being written, or one in /proc, has another size than announced.
        if position != self.size:
            raise changed_error()

    def _read(self, position: int) -> bytes:
        try:
            if hasattr(os, "pread"):
                return os.pread(self._descriptor, CHUNK, position)
            os.lseek(self._descriptor, position, os.SEEK_SET)
            return os.read(self._descriptor, CHUNK)
        except OSError as error:
            raise _unreadable_error(self.name, error) from None


def _check_text(path: str) -> None:
    """Refuse what is not exactly one path, before looking at the file system."""
    if len(path) > _LONGEST_PATH:
        raise AttachmentRefused(f"path is {len(path):,} characters long.", "Give the path of one file.")
    if not path or any(unicodedata.category(char) in {"Cc", "Cs"} for char in path):
        raise AttachmentRefused(f"path {brief(path)} is no path.", "Give the path of one file.")
    if path.startswith("~"):
        raise AttachmentRefused(
            f"{_quote_name(path)} begins with ~, which stands for nothing here.", "Write the whole path."
        )
    if _URL.match(path):
        raise AttachmentRefused(f"{_quote_name(path)} is a URL.", "Give the path of a file; nothing is fetched.")
    if ".." in re.split(r"[/\\]", path):
        raise AttachmentRefused(f"{_quote_name(path)} goes up with two dots.", "Write the whole path without them.")


def _private_error(path: str) -> AttachmentRefused:
    return AttachmentRefused(
        f"{_quote_name(path)} is a hidden file, or outspool's own.", "Copy what shall be sent to another name."
    )


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _is_folder(path: str, identity: tuple[int, int] | None) -> bool:
    try:
        return identity is not None and _identity(os.lstat(path)) == identity
    except OSError:
        return False


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def _walk(root: str, steps: Sequence[str], path: str) -> int:
    """Open the regular file at `steps` below `root` without following links; return the descriptor."""
    if os.open not in os.supports_dir_fd:
        return _check_regular(os.open(os.path.join(root, *steps), _OPEN_FILE), path)  # noqa: PTH118
    folder = os.open(root, _OPEN_FOLDER)
    try:
        for step in steps[:-1]:
            inner = os.open(step, _OPEN_FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        # Opening a device can have effects, so check first; the check that counts is the one after opening.
        if not stat.S_ISREG(os.stat(steps[-1], dir_fd=folder, follow_symlinks=False).st_mode):
            raise _irregular_error(path)
        return _check_regular(os.open(steps[-1], _OPEN_FILE, dir_fd=folder), path)
    finally:
        os.close(folder)


def _check_regular(descriptor: int, path: str) -> int:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _irregular_error(path)
    return descriptor


def _irregular_error(path: str) -> AttachmentRefused:
    return AttachmentRefused(
        f"{_quote_name(path)} is not a regular file.", "Folders, pipes and devices cannot be sent."
    )


def _unreadable_error(path: str, error: OSError) -> AttachmentRefused:
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT):
        return AttachmentRefused(f"{_quote_name(path)} is not there, or changed as it was opened.", "Check the path.")
    why = (error.strerror or type(error).__name__).lower()
    return AttachmentRefused(
        f"{_quote_name(path)} cannot be read: {why}.", "The operator may give outspool access to it."
    )


def _quote_name(path: str) -> str:
    return f"path {brief(path, 120)}"
