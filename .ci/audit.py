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
    found: dict[str, str] = {}
    unknown: set[str] = set()
    total: set[str] = set()
    for lock in locks:
        answer = audit(lock)
        if answer is None:
            print(f"audit: the advisories could not be reached, so nothing is known about {lock}.", file=sys.stderr)
            return UNKNOWN
        for package in answer["dependencies"]:
            name = f"{package['name']} {package.get('version', '')}".strip()
            total.add(package["name"])
            if "skip_reason" in package:
                unknown.add(package["name"])
            for advisory in package.get("vulns", ()):
                fixed = ", ".join(advisory["fix_versions"]) or "no version yet"
                found[f"{name}: {advisory['id']}"] = f"fixed in {fixed}"
    for what, cure in sorted(found.items()):
        print(f"audit: {what}, {cure}")
    if unknown:
        names = ", ".join(sorted(unknown)[:5])
        print(f"audit: nothing is known about {len(unknown)} of {len(total)} packages ({names} ...).", file=sys.stderr)
        if len(unknown) == len(total):
            print("audit: the advisories could not be reached. Run this where pypi.org can be.", file=sys.stderr)
    if found:
        return VULNERABLE
    if unknown:
        return UNKNOWN
    print(f"audit: none of {len(total)} packages has a known vulnerability.")
    return 0


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
