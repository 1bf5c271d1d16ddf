"""The configurations that outspool runs with on this machine: this terminal's, and those of MCP clients."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from outspool.app.client_configs import ClientEntry, find_client_entries
from outspool.app.env_files import EnvFiles
from outspool.app.settings import Settings, env_files


@dataclass(frozen=True, slots=True)
class Installation:
    """One configuration: `source` says where it is read, and `load` reads it.

    `folder` is where the `.env` beside that of the data directory is looked for; None for a client's process.
    """

    source: str
    environment: Mapping[str, str] = field(repr=False)
    folder: Path | None = None
    is_sandbox: bool = False

    def load(self) -> Settings:
        """Return the settings. Raises `MisconfiguredError`."""
        overrides = {"OUTSPOOL_SANDBOX": True} if self.is_sandbox else None
        return Settings.load(overrides, folder=self.folder, environment=self.environment)

    @property
    def files(self) -> EnvFiles:
        """The `.env` files that it reads. Raises `MisconfiguredError`."""
        return env_files(self.folder, self.environment)


def find_installations() -> list[Installation]:
    """Return this terminal's configuration if it names an account, and each other one that a client runs.

    Without any account it is this terminal's alone. Raises `MisconfiguredError` if a `.env` is not text.
    """
    own = own_installation()
    clients = [_describe_entry(entry) for entry in find_client_entries()]
    found: list[Installation] = []
    for each in [*([own] if _names_account(own) or not clients else []), *clients]:
        selected = _select_settings(each)
        same = next((n for n, one in enumerate(found) if _select_settings(one) == selected), None)
        if same is None:
            found.append(each)
        else:
            found[same] = replace(found[same], source=f"{found[same].source}; the same in {each.source}")
    return found


def own_installation() -> Installation:
    """Return the configuration of a command that is typed here."""
    own = Installation("", os.environ, Path.cwd())
    read = [str(file.path) for file in own.files.all if file.values]
    return Installation(f"the environment{''.join(f' and {path}' for path in read)}", os.environ, Path.cwd())


def _describe_entry(entry: ClientEntry) -> Installation:
    client = Installation("", entry.environment)
    read = [str(file.path) for file in client.files.all if file.values]
    source = f"{entry}{''.join(f' and {path}' for path in read)}"
    return Installation(source, entry.environment, is_sandbox="--sandbox" in entry.arguments)


def _select_settings(installation: Installation) -> dict[str, str]:
    """Return the variables that decide, by which two configurations are the same."""
    chosen = {name.upper(): value for name, value in installation.environment.items() if value.strip()}
    named = {**installation.files.values(), **chosen}
    named = {name: value for name, value in named.items() if not name.startswith("AWS_") or "AWS_BUCKET_NAME" in named}
    named.pop("SSL_CERT_FILE", None)  # a shell's, for all its programs
    if installation.is_sandbox:
        named["OUTSPOOL_SANDBOX"] = "true"
    return {name: named[name] for name in sorted(named.keys() & Settings.names())}


def _names_account(installation: Installation) -> bool:
    return bool(_select_settings(installation).keys() & {"SMTP_HOST", "GMAIL_EMAIL", "OUTSPOOL_SANDBOX"})
