"""Ask PyPI which versions of lock files have known vulnerabilities: ``audit.py LOCK...``.

Exits with 0 when there are none, 1 when there are, and 3 when the advisories could not be reached: not to know is not
to be safe. pip-audit alone says "No known vulnerabilities found" also when a mirror answered that it knows no package.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

VULNERABLE, UNKNOWN = 1, 3


def main(locks: list[str]) -> int:
    """Audit each lock file; return the exit code."""
    packages: dict[tuple[str, str], dict[str, Any]] = {}
    for lock in locks:
        answer = audit(lock)
        if answer is None:
            print(f"audit: the advisories could not be reached, so nothing is known about {lock}.", file=sys.stderr)
            return UNKNOWN
        packages |= {(found["name"], found.get("version", "")): found for found in answer["dependencies"]}
    known = [package for package in packages.values() if "skip_reason" not in package]
    vulnerable = [package for package in known if package["vulns"]]
    for package in vulnerable:
        for advisory in package["vulns"]:
            fixed = ", ".join(advisory["fix_versions"]) or "no version yet"
            print(f"audit: {package['name']} {package['version']}: {advisory['id']}, fixed in {fixed}")
    if vulnerable:
        return VULNERABLE
    if len(known) < len(packages):
        return report_unknown(sorted(name for name, _ in packages.keys() - {(p["name"], p["version"]) for p in known}))
    print(f"audit: none of {len(packages)} packages has a known vulnerability.")
    return 0


def report_unknown(names: list[str]) -> int:
    """Say that nothing is known about some packages; return the exit code."""
    shown = ", ".join(names[:5])
    print(f"audit: the advisories on {len(names)} packages could not be reached ({shown} ...).", file=sys.stderr)
    print("audit: not to know is not to be safe: run this where pypi.org can be reached.", file=sys.stderr)
    return UNKNOWN


def audit(lock: str) -> dict[str, Any] | None:
    """Return what pip-audit says of a lock file, None when it could not ask."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "audit.json"
        command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
        command += ["--format", "json", "--output", str(output), "--requirement", lock]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - with our own files
        if not output.exists() or not output.stat().st_size:
            print(ran.stderr.strip().rpartition("\n")[2][:500], file=sys.stderr)
            return None
        answer: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
        return answer


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
