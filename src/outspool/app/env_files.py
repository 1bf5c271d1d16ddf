"""Reads `.env` files, but only those that no other user can have written.

Whoever can write to a folder can put a `.env` there. If a command run in that folder obeyed it, it would send the
operator's password to a host of the attacker's choice.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from dotenv import dotenv_values
from dotenv.variables import parse_variables

from outspool.app.server_address import is_loopback
from outspool.errors import MisconfiguredError

_MAX_BYTES = 1_000_000
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OPEN = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NEVER_WAIT = getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True, slots=True)
class EnvFile:
    """A `.env` file: its `values` by upper-case name, or `distrust`: why it is ignored."""

    path: Path
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    distrust: str = ""

    def value(self, name: str) -> str:
        """Return a variable's value; empty if the file does not set it."""
        return self.values.get(name, "")


def read_env_file(path: Path, *, environment: Mapping[str, str]) -> EnvFile:
    """Read a `.env` file; a missing one has no values.

    ``${NAME}`` is replaced from the file itself and from `environment`, which is empty for an untrusted file: it must
    not move a secret of the environment into a setting that is shown or sent. Raises `MisconfiguredError` if it is not
    text.
    """
    try:
        text = read_own_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return EnvFile(path)
    except DistrustError as error:
        return EnvFile(path, distrust=str(error))
    except OSError as error:
        return EnvFile(path, distrust=(error.strerror or type(error).__name__).lower())
    found: dict[str, str] = {}
    for name, raw in dotenv_values(stream=io.StringIO(text), interpolate=False).items():
        value = "".join(atom.resolve({**environment, **found}) for atom in parse_variables(raw or ""))
        found[name] = value
    return EnvFile(path, {name.upper(): value for name, value in found.items()})


class DistrustError(Exception):
    """Another user may have written the file; the text says how."""


def read_own_file(path: Path, *, limit: int = _MAX_BYTES, distrusted: int = _OTHERS_WRITE) -> str:
    """Return the text of a file of `limit` bytes at most; the checks are made on the descriptor that is read.

    `distrusted` are the mode bits that it must not have.

    Raises `DistrustError`, `OSError`, and `MisconfiguredError` if it is not text.
    """
    found = os.lstat(path)  # lstat: who created a link chose the file
    _check_owner(found)
    # A password manager may provide the file as a pipe; reading another user's pipe could block forever.
    is_own_pipe = stat.S_ISFIFO(found.st_mode) and not found.st_mode & _OTHERS_WRITE
    descriptor = os.open(path, _OPEN if is_own_pipe else _OPEN | _NEVER_WAIT)
    with os.fdopen(descriptor, "rb") as file:
        _check_file(os.fstat(descriptor), allows_pipe=is_own_pipe, distrusted=distrusted)
        raw = file.read(limit + 1)
    if len(raw) > limit:
        raise DistrustError(f"it is larger than {limit:,} bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise MisconfiguredError("A .env file is not UTF-8 text.", "Save it as UTF-8.") from None


def _check_file(found: os.stat_result, *, allows_pipe: bool, distrusted: int) -> None:
    if not (stat.S_ISREG(found.st_mode) or (allows_pipe and stat.S_ISFIFO(found.st_mode))):
        raise DistrustError("it is not a regular file")
    _check_owner(found)
    if os.name != "nt" and found.st_mode & distrusted:
        raise DistrustError("other users may write to it; run chmod go-w on it")


def _check_owner(found: os.stat_result) -> None:
    if os.name != "nt" and found.st_uid not in (0, os.geteuid()):
        raise DistrustError("it belongs to another user")


@dataclass(frozen=True, slots=True)
class EnvFiles:
    """The `.env` files of the data directory and of the current folder, which wins."""

    data_dir: EnvFile
    folder: EnvFile | None = None

    @classmethod
    def read(cls, data_dir: Path, folder: Path | None, *, environment: Mapping[str, str] = os.environ) -> EnvFiles:
        """Read both. Raises `MisconfiguredError` if one is not text.

        `folder` is None if an MCP client started the process in a folder of its choice: outspool ignores the `.env` of
        the project that the client has open.
        """
        data_dir_file = read_env_file(data_dir / ".env", environment=environment)
        if folder is None or os.path.realpath(folder) == os.path.realpath(data_dir):
            return cls(data_dir_file)
        return cls(data_dir_file, read_env_file(folder / ".env", environment={}))

    @property
    def all(self) -> tuple[EnvFile, ...]:
        """Both, the least important first."""
        return (self.data_dir,) if self.folder is None else (self.data_dir, self.folder)

    @property
    def ignored(self) -> tuple[EnvFile, ...]:
        """Files that another user may have written."""
        return tuple(file for file in self.all if file.distrust)

    def values(self) -> dict[str, str]:
        """Return the variables of both; empty values are left out."""
        return {name: value for file in self.all for name, value in file.values.items() if value}

    def check_secrets(self, chosen: Mapping[str, str]) -> None:
        """Raise `MisconfiguredError` if a secret would go to a host named only by the current folder's file.

        The folder may be a copy of a stranger's, with its `.env`. `chosen` are variables of the environment and the
        command line, which win over both files.
        """
        if self.folder is None:
            return
        folder_names = {
            name
            for name, value in self.folder.values.items()
            if value and name not in chosen and value != self.data_dir.value(name)
        }
        settings = {**self.values(), **chosen}
        other_names = settings.keys() - folder_names
        for host in ("SMTP_HOST", "SMTP_PORT") if is_loopback(settings.get("SMTP_HOST", "")) else ("SMTP_HOST",):
            if host in folder_names and "SMTP_PASSWORD" in other_names:
                raise _stray_secret_error(host, "SMTP_PASSWORD comes")
        # Who names the authorities can pretend to be the server.
        for authorities in folder_names & {"SMTP_CA_FILE", "SSL_CERT_FILE"}:
            for secret in sorted(other_names & {"SMTP_PASSWORD", "GMAIL_APP_PASSWORD"}):
                raise _stray_secret_error(authorities, f"{secret} comes")
        # Without a configured key, boto uses the machine's.
        uses_bucket = "AWS_BUCKET_NAME" in settings
        for place in ("AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"):
            if uses_bucket and place in folder_names and "AWS_SECRET_ACCESS_KEY" not in folder_names:
                raise _stray_secret_error(place, "the keys to S3 come")
        if "DATABASE_URL" in folder_names and _takes_any_password(settings["DATABASE_URL"]):
            raise _stray_secret_error("DATABASE_URL", "the password (PGPASSWORD, PGPASSFILE or PGSERVICE) comes")


def _stray_secret_error(host: str, secret: str) -> MisconfiguredError:
    return MisconfiguredError(
        f"{host} is set by the .env of this folder, and {secret} from elsewhere: it is not sent there.",
        "Set both in one place, or run the command in another folder.",
    )


def _takes_any_password(url: str) -> bool:
    """Tell whether asyncpg would send this server a password that is not in the URL."""
    if not url.startswith(("postgres://", "postgresql://")):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False  # an invalid URL is reported elsewhere
    query = parse_qs(parts.query)
    if parts.password or "password" in query:
        return False
    # A service of pg_service.conf supplies what the URL lacks, even the password of another host.
    if os.environ.get("PGPASSWORD") or os.environ.get("PGSERVICE") or "service" in query:
        return True
    named = query.get("passfile", [os.environ.get("PGPASSFILE") or "~/.pgpass"])[-1]
    try:
        lines = Path(named).expanduser().read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, RuntimeError, ValueError):
        return False
    return any(line.startswith("*:") for line in lines)
