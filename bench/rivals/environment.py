"""Virtual environments for rivals, beside our own, so that nobody's dependencies meet; kept for the next run."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

from bench.ground import Ground
from bench.table import AbsentError

_TOOLS = Path(__file__).resolve().parent.parent.parent / ".tools"
_PATIENCE = 300


async def environment(ground: Ground, name: str, *requirements: str) -> Path:
    """Return the folder of programs of an environment with `requirements`; make it if it is not there.

    Raises `AbsentError` when it cannot be made: no uv, or no package registry; in a smoke run it is not tried.
    """
    if not ground.scale.installs:
        raise AbsentError("It would have to be installed: not in a smoke run.")
    uv = shutil.which("uv", path=f"{_TOOLS / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        raise AbsentError("uv is not here to install it: run `make bench`.")
    folder = _TOOLS / "rivals" / name
    done = folder / ".installed"
    wanted = "\n".join(requirements)
    if not done.exists() or done.read_text() != wanted:
        await _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder)
        await _run(uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", *requirements)
        done.write_text(wanted)
    return folder / "bin"


async def installed_version(programs: Path, package: str) -> str:
    """Return the version of a package in such an environment."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return await _run(programs / "python", "-c", code)


async def _run(*command: str | Path) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    async with asyncio.timeout(_PATIENCE):
        out, complaint = await process.communicate()
    if process.returncode:
        last = (complaint.decode().strip().splitlines() or ["no reason given"])[-1]
        raise AbsentError(f"It could not be installed: {last[:120]}")
    return out.decode().strip()
