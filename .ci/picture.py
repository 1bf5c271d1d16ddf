"""Runs the demo in a terminal of its own and draws what it shows: `make picture` writes docs/images/demo.svg."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

TARGET = Path(__file__).parents[1] / "docs" / "images" / "demo.svg"
WIDTH, LINES = 96, 200
LAST = "\nThe sandbox took 4 emails"
"""The picture ends above this line: it and what follows name files of the machine."""

# Rich's own format loads a font from the net, which a README must not.
FORMAT = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>The output of make demo: four emails are sent, scheduled, retried and partly refused.</title>
<style>
.{unique_id}-matrix {{ font: {char_height}px monospace; line-height: {line_height}px; white-space: pre; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def run_demo() -> str:
    """Run the demo in a terminal, and return what it wrote. Raises `CalledProcessError` if it fails."""
    leader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, WIDTH, 0, 0))
    command = [sys.executable, "-m", "outspool", "demo"]
    environment = {**os.environ, "TERM": "xterm-256color", "TZ": "Europe/Berlin"}
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment) as demo:  # noqa: S603 - our own
        os.close(terminal)
        written = b"".join(iter(lambda: _read(leader), b""))
    if demo.returncode:
        raise subprocess.CalledProcessError(demo.returncode, command, written)
    return written.decode()


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # Linux says so when the program has left the terminal
        return b""


def draw(shown: str) -> str:
    """Return an SVG of a terminal that shows this."""
    text = Text.from_ansi("$ make demo\n" + shown.replace("\r\n", "\n"))
    head = text[: text.plain.index(LAST)]
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(head)
    return console.export_svg(title="outspool", theme=MONOKAI, code_format=FORMAT, unique_id="demo")


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(draw(run_demo()), encoding="utf-8")
    print(f"{TARGET.name} shows the demo as it ran just now.")
