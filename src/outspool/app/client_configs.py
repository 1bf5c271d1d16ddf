"""Finds the entries that run outspool in the configurations of MCP clients.

Only files of the user's home are read: a project's may be a stranger's.
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from outspool.app.env_files import DistrustError, read_own_file
from outspool.errors import MisconfiguredError

logger = logging.getLogger(__name__)

_MAX_BYTES = 50_000_000
"""Claude Code keeps its history in the same file."""

_OUTSPOOL = re.compile(r"(?:^|[/\\])outspool(?:\.exe|\.cmd)?(?:\[[\w,-]*\])?(?:[@=<>~!].*)?$", re.IGNORECASE)
_COMMENT = re.compile(r'("(?:\\.|[^"\\])*"?)|//[^\n]*|/\*(?:.*?\*/|.*)', re.DOTALL)
_LAST_COMMA = re.compile(r'("(?:\\.|[^"\\])*"?)|,(?=\s*[}\]])', re.DOTALL)
_REFERENCE = re.compile(r"\$\{(?:env:)?(\w+)(?::-([^{}]*))?\}")
_UNKNOWN = re.compile(r"\$\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class ClientEntry:
    """An entry of `client`, called `name` in the file `path`, that runs outspool with these variables and arguments."""

    client: str
    path: Path
    name: str
    environment: Mapping[str, str] = field(repr=False)
    arguments: tuple[str, ...] = field(repr=False)

    def __str__(self) -> str:
        """Return where the entry stands, for people."""
        return f'{self.client}, server "{self.name}" in {self.path}'


def find_client_entries(environment: Mapping[str, str] = os.environ) -> list[ClientEntry]:
    """Return the entries of all clients, each with what its process gets. Files that cannot be read are passed over."""
    entries = []
    for client, path in _list_places(environment):
        # Claude Code is started in a terminal, the others from a desktop that has not read the shell's files.
        inherited = environment if client == "Claude Code" else {}
        entries += [
            ClientEntry(client, path, name, {**inherited, **_read_variables(server, environment)}, _arguments(server))
            for name, server in _read_servers(path)
            if _runs_outspool(server)
        ]
    return entries


def _list_places(environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    try:
        home = Path.home()
    except RuntimeError:
        return
    if sys.platform == "darwin":
        folder = home / "Library" / "Application Support"
    elif os.name == "nt":
        folder = Path(environment.get("APPDATA") or home / "AppData" / "Roaming")
    else:
        folder = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    yield "Claude Desktop", folder / "Claude" / "claude_desktop_config.json"
    yield "Claude Code", home / ".claude.json"
    yield "Cursor", home / ".cursor" / "mcp.json"
    yield "VS Code", folder / "Code" / "User" / "mcp.json"


def _read_servers(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield name and configuration of each server in a file, also those that Claude Code keeps by project."""
    config = _read_json(path)
    for place in (config, *_values(config.get("projects"))):
        for key in ("mcpServers", "servers"):
            servers = place.get(key)
            if isinstance(servers, Mapping):
                yield from ((str(name), each) for name, each in servers.items() if isinstance(each, Mapping))


def _values(projects: object) -> list[Mapping[str, Any]]:
    return [each for each in projects.values() if isinstance(each, Mapping)] if isinstance(projects, Mapping) else []


def _read_json(path: Path) -> Mapping[str, Any]:
    """Return the object in a file; empty if there is none, or none that can be read. Comments are allowed."""
    try:
        # Clients write with the user's umask, which often lets the user's group write.
        text = read_own_file(path, limit=_MAX_BYTES, distrusted=stat.S_IWOTH)
        text = _LAST_COMMA.sub(lambda found: found[1] or "", _COMMENT.sub(lambda found: found[1] or " ", text))
        config = json.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except DistrustError as distrust:
        logger.warning("%s is passed over: %s.", path, distrust)
        return {}
    except (OSError, ValueError, RecursionError, MisconfiguredError):
        logger.warning("%s is passed over: it cannot be read as a client's configuration.", path)
        return {}
    return config if isinstance(config, Mapping) else {}


def _runs_outspool(server: Mapping[str, Any]) -> bool:
    return any(_OUTSPOOL.search(word) for word in (str(server.get("command") or ""), *_arguments(server)))


def _arguments(server: Mapping[str, Any]) -> tuple[str, ...]:
    arguments = server.get("args")
    return tuple(map(str, arguments)) if isinstance(arguments, list) else ()


def _read_variables(server: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an entry, but for those that the client asks its user for: it alone knows them."""
    own = server.get("env")
    named = {str(key): str(value) for key, value in own.items()} if isinstance(own, Mapping) else {}
    resolved = {key: _resolve(value, environment) for key, value in named.items()}
    return {key: value for key, value in resolved.items() if not _UNKNOWN.search(value)}


def _resolve(value: str, environment: Mapping[str, str]) -> str:
    """Replace references to variables, as clients do."""
    return _REFERENCE.sub(lambda found: environment.get(found[1], found[2] or ""), value)
