"""Follows the symbolic links of a path without ever looking at what lies outside of some folders.

`os.path.realpath` looks at every step of the way. A link that leads out would then answer differently for what is there
and for what is not, and so tell a caller about files that are none of his business.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_MOST_LINKS = 40
"""As Linux: more are a circle."""


class LeadsOutError(Exception):
    """A path leaves the folders; nothing is known of what it names."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a path names: `steps` from `root`, a real path; no link is left in either."""

    root: str
    steps: tuple[str, ...]

    def __str__(self) -> str:
        """Return the whole path."""
        return os.path.join(self.root, *self.steps)  # noqa: PTH118 - there may be no steps


class Beneath:
    """Resolves paths beneath the folders `roots`: the real path of each, by the name that it was given."""

    def __init__(self, roots: Mapping[str, str], *, check: Callable[[Place], None]) -> None:
        """`check` is called with each step before it is looked at, and may raise."""
        self._roots = roots
        self._check = check

    def locate(self, path: str) -> tuple[str, list[str]]:
        """Return the root that an absolute path begins with, and the steps after it. Raises `LeadsOutError`."""
        path = os.sep.join(split(path))  # noqa: PTH118 - as it is written
        for written, real in self._roots.items():
            for name in (written, real):
                if path == name or path.startswith(name.rstrip(os.sep) + os.sep):
                    return real, split(path[len(name) :])
        raise LeadsOutError

    def resolve(self, root: str, path: list[str]) -> Place:
        """Follow the links of `path` from `root`. Raises `LeadsOutError`, and `OSError` for what is not there."""
        waiting, steps, links = path[::-1], list[str](), 0
        while waiting:
            step = waiting.pop()
            if step in ("", os.curdir):
                continue
            if step == os.pardir:
                if steps:
                    steps.pop()
                else:
                    root, onward = self.locate(_above(root, waiting))
                    waiting = onward[::-1]
                continue
            place = Place(root, (*steps, step))
            self._check(place)
            if not stat.S_ISLNK(os.lstat(str(place)).st_mode):
                steps.append(step)
                continue
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = os.readlink(str(place))  # noqa: PTH115 - as it is written there
            if os.path.isabs(target):  # noqa: PTH117 - a string, like all here
                root, onward = self.locate(target)
                steps.clear()
            else:
                onward = split(target)
            waiting.extend(onward[::-1])
        return Place(root, tuple(steps))


def split(path: str) -> list[str]:
    """Return the steps of a path as they are written, empty ones and dots too."""
    return (path.replace(os.altsep, os.sep) if os.altsep else path).split(os.sep)  # noqa: PTH206 - as above


def _above(root: str, waiting: list[str]) -> str:
    """Return the absolute path that goes on with `waiting`, the next step last, from the folder above `root`."""
    folder = os.path.dirname(root)  # noqa: PTH120 - as above
    while waiting and waiting[-1] in (os.pardir, os.curdir, ""):
        if waiting.pop() == os.pardir:
            folder = os.path.dirname(folder)  # noqa: PTH120 - as above
    return os.path.join(folder, *waiting[::-1])  # noqa: PTH118 - as above
