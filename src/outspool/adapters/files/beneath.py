"""Resolves symbolic links below given folders without looking at anything outside of them.

`os.path.realpath` examines every step of the path. A link that leads outside would then give different errors for what
exists and what does not, and so tell a caller about files elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_MAX_LINKS = 40
"""As on Linux; more links are a loop."""


class LeadsOutError(Exception):
    """A path leaves the folders; its target was not examined."""


@dataclass(frozen=True, slots=True)
class Place:
    """A resolved path: `steps` below the real path `root`, free of links."""

    root: str
    steps: tuple[str, ...]

    def __str__(self) -> str:
        """Return the whole path."""
        return os.path.join(self.root, *self.steps)  # noqa: PTH118 - there may be no steps


class Beneath:
    """Resolves paths below the folders `roots`, a mapping from given names to real paths."""

    def __init__(self, roots: Mapping[str, str], *, check: Callable[[Place], None]) -> None:
        """`check` is called with each step before it is examined, and may raise."""
        self._roots = roots
        self._check = check

    def locate(self, path: str) -> tuple[str, list[str]]:
        """Return the root of an absolute path and the steps below it. Raises `LeadsOutError`."""
        path = os.sep.join(split(path))  # noqa: PTH118 - as it is written
        for target_path, real in self._roots.items():
            for name in (target_path, real):
                if path == name or path.startswith(name.rstrip(os.sep) + os.sep):
                    return real, split(path[len(name) :])
        raise LeadsOutError

    def resolve(self, root: str, path: list[str]) -> Place:
        """Follow the links of `path` below `root`. Raises `LeadsOutError`, and `OSError` if it does not exist."""
        remaining_steps, steps, links = path[::-1], list[str](), 0
        while remaining_steps:
            step = remaining_steps.pop()
            if step in ("", os.curdir):
                continue
            if step == os.pardir:
                if steps:
                    steps.pop()
                else:
                    root, onward = self.locate(_above(root, remaining_steps))
                    remaining_steps = onward[::-1]
                continue
            place = Place(root, (*steps, step))
            self._check(place)
            if not stat.S_ISLNK(os.lstat(str(place)).st_mode):
                steps.append(step)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = os.readlink(str(place))  # noqa: PTH115 - as it is written there
            if os.path.isabs(target):  # noqa: PTH117 - a string, like all here
                root, onward = self.locate(target)
                steps.clear()
            else:
                onward = split(target)
            remaining_steps.extend(onward[::-1])
        return Place(root, tuple(steps))


def split(path: str) -> list[str]:
    """Return the steps of a path as written, including empty ones and dots."""
    return (path.replace(os.altsep, os.sep) if os.altsep else path).split(os.sep)  # noqa: PTH206 - as above


def _above(root: str, remaining_steps: list[str]) -> str:
    """Return the absolute path of the folder above `root`, followed by the steps, which are in reverse order."""
    folder = os.path.dirname(root)  # noqa: PTH120 - as above
    while remaining_steps and remaining_steps[-1] in (os.pardir, os.curdir, ""):
        if remaining_steps.pop() == os.pardir:
            folder = os.path.dirname(folder)  # noqa: PTH120 - as above
    return os.path.join(folder, *remaining_steps[::-1])  # noqa: PTH118 - as above
