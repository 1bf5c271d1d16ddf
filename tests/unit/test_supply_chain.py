"""Dependencies are pinned with hashes, and an audit without results does not pass."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements.lock", "locks/image.txt", "locks/build.txt", "locks/audit.txt"]
_PIN = re.compile(r"^[a-z0-9][a-z0-9._-]*(\[[a-z0-9,-]+\])?==[^\s;*]+( ; [^\\]+)? \\$")
_HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")


def pins(lock: str) -> dict[str, str]:
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    return {line.partition("==")[0]: re.split(r"[ ;]", line.partition("==")[2])[0] for line in lines if "==" in line}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_file_is_a_full_version_or_a_hash_of_it(lock: str) -> None:
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    assert len(lines) > 20
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        assert _PIN.match(line) or _HASH.match(line), line
        if _PIN.match(line):
            assert _HASH.match(following), line
        assert line.endswith("\\") == following.startswith("    "), line


@pytest.mark.parametrize("lock", ["locks/image.txt", "locks/build.txt"])
def test_the_image_has_the_versions_that_the_tests_ran_with(lock: str) -> None:
    tested = pins("requirements.lock")
    assert {name: version for name, version in pins(lock).items() if tested.get(name, version) != version} == {}


def test_the_build_backend_and_uv_are_pinned_in_full() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for requirement in project["build-system"]["requires"]:
        name, version = requirement.split("==")
        assert pins("locks/build.txt")[name] == version
    assert re.fullmatch(r"\d+\.\d+\.\d+", pins("locks/build.txt")["uv"])


def test_the_base_image_is_named_by_its_full_version_in_every_stage() -> None:
    images = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(images) == 2
    assert len(set(images)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", images[0])


def test_nothing_is_installed_without_its_hash() -> None:
    for file in ("Makefile", "Dockerfile"):
        text = (ROOT / file).read_text(encoding="utf-8").replace("\\\n", " ")
        for install in re.findall(r"pip install[^;&\n]*", text):
            assert "--require-hashes" in install or "$(HASHED)" in install or "--no-deps" in install, install


FINE = {"name": "fine", "version": "1", "vulns": []}
BAD = {"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "lost", "skip_reason": "Dependency not found on PyPI and could not be audited: lost (4)"}


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ([FINE], 0, "none of 1 packages has a known vulnerability"),
        ([FINE, BAD], 1, "bad 2: PYSEC-1, fixed in 3"),
        ([FINE, UNKNOWN], 3, "the advisories on 1 packages could not be reached (lost"),
        ([UNKNOWN], 3, "could not be reached"),
        ([BAD, UNKNOWN], 1, "PYSEC-1"),
        (None, 3, "nothing is known about some.lock"),
    ],
)
def test_an_audit_passes_only_when_it_knows(tmp_path: Path, answer: object, code: int, words: str) -> None:
    """PyPI's advisories cannot be had here, so pip-audit's own answers stand in for them."""
    write = "" if answer is None else f"open(sys.argv[sys.argv.index('--output') + 1], 'w').write({dump(answer)!r})"
    (tmp_path / "pip_audit.py").write_text(f"import sys\n{write}\n")
    ran = subprocess.run(
        [sys.executable, ROOT / ".ci" / "audit.py", "some.lock"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == code, ran.stderr
    assert words in ran.stdout + ran.stderr


def dump(answer: object) -> str:
    return json.dumps({"dependencies": answer, "fixes": []})
