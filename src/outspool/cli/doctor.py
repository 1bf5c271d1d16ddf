"""The command ``doctor``: checks each configuration that outspool runs with here, and prints what it finds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from outspool.api.errors import name_variables
from outspool.cli.logs import printable
from outspool.cli.runs import configure_logging, run
from outspool.errors import OutspoolError

if TYPE_CHECKING:
    from outspool.app.installations import Installation
    from outspool.services.doctor.findings import Finding


def register(cli: typer.Typer) -> None:
    """Add the command to `cli`."""
    cli.command()(doctor)


def doctor(
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Do not try to log in at the SMTP server.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object, for programs.")] = False,
) -> None:
    """Check settings, disk, database, SMTP account and queue; each problem comes with its fix.

    It checks the settings of this terminal, and those of Claude Desktop, Claude Code, Cursor and VS Code if they run
    outspool. Exits with 1 if anything fails.
    """
    configure_logging(is_worker=False)
    if not run(_examine_all(offline=offline, as_json=as_json)):
        raise typer.Exit(1)


async def _examine_all(*, offline: bool, as_json: bool) -> bool:
    """Print the findings on each configuration; True if none is a failure."""
    from outspool.app.installations import find_installations
    from outspool.services.doctor.findings import Level

    checked: list[tuple[Installation, list[Finding]]] = []
    for installation in find_installations():
        findings: list[Finding] = []
        if checked and not as_json:
            typer.echo()
        said: set[str] = set()
        async for finding in _examine(installation, offline=offline):
            findings.append(finding)
            if not as_json:
                _print(finding, said)
        checked.append((installation, findings))
    is_well = all(finding.level is not Level.FAIL for _, findings in checked for finding in findings)
    if as_json:
        payload = {"ok": is_well, "checked": [_dump(each, findings) for each, findings in checked]}
        typer.echo(json.dumps(payload, indent=2, ensure_ascii=False))
    return is_well


async def _examine(installation: Installation, *, offline: bool) -> AsyncIterator[Finding]:
    """Yield each finding on one configuration as it comes."""
    from outspool.app.examination import build_doctor
    from outspool.app.runtime import Outspool
    from outspool.services.doctor.findings import fail, ok

    try:
        outspool = Outspool(installation.load())
        doctor = build_doctor(outspool, offline=offline, installation=installation)
    except OutspoolError as error:
        yield ok("source", f"Settings are read from {installation.source}.")
        yield fail("settings", error.message, error.hint)
        return
    async with outspool.run(worker=False, allow_misconfigured=True):
        async for finding in doctor.examine():
            yield finding


def _print(finding: Finding, said: set[str]) -> None:
    """Print a finding in one line, with its fix unless that was said before."""
    fix = f" \N{RIGHTWARDS ARROW} {finding.fix}" if finding.fix and finding.fix not in said else ""
    said.add(finding.fix)
    typer.echo(printable(name_variables(f"{finding.level:<5} {finding.name:<12} {finding.finding}{fix}")))


def _dump(installation: Installation, findings: list[Finding]) -> dict[str, Any]:
    return {
        "source": installation.source,
        "findings": [
            {
                "level": finding.level.value.lower(),
                "name": finding.name,
                "finding": name_variables(finding.finding),
                "fix": name_variables(finding.fix) or None,
            }
            for finding in findings
        ],
    }
