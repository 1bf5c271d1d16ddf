"""Formats log lines: printable text of bounded length, with repetitions collapsed.

Names, addresses, replies and headers of strangers get into the log. Escape sequences in them would control the reader's
terminal, line breaks would forge lines, and a flood of lines would fill the disk.
"""

from __future__ import annotations

import logging
import sys
import time
import unicodedata
from collections.abc import Callable
from typing import TextIO

from outspool.api.errors import name_variables

MAX_LINE = 2000
"""Characters of a message; the rest is counted."""

_MAX_TRACEBACK = 20_000
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories: control, format (with direction marks), surrogate, private, unassigned, line breaks."""

_PERIOD = 60.0
_MOST_ALIKE = 30
"""Lines of one kind per period."""

_MOST_KINDS = 1000
_OURS = ("outspool.services", "outspool.adapters", "outspool.app")
"""Loggers whose lines may be all that is known of an email: only identical ones are collapsed."""


def printable(text: str) -> str:
    """Return `text` with unprintable characters as hexadecimal escapes, and line feeds as backslash n."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _prints(char) else _escape(char) for char in text)


def truncate(text: str, limit: int = MAX_LINE) -> str:
    """Return the beginning of `text`, and how much is left out."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit:,} more characters)"


class LineFormatter(logging.Formatter):
    """Formats a record as one line, and a traceback indented below it, so that no text can forge a line."""

    def __init__(self) -> None:
        super().__init__(_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line. Too long text is cut first, because escaping takes time."""
        record.message = printable(name_variables(truncate(record.message)))
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's name
        """Return the indented traceback; without text for validation errors, which repeat the input."""
        error = ei[1] if isinstance(ei, tuple) else None
        if error is not None and hasattr(error, "error_count"):  # pydantic's, which takes long to import
            return f"    {type(error).__name__}: {error.error_count()} errors in what a caller sent"
        text = super().formatException(ei)  # type: ignore[arg-type]
        if len(text) > _MAX_TRACEBACK:
            text = f"{text[: _MAX_TRACEBACK // 2]}\n…\n{text[-_MAX_TRACEBACK // 2 :]}"
        return "\n".join(f"    {printable(truncate(line))}" for line in text.split("\n"))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        """Return the indented stack."""
        return "\n".join(f"    {printable(truncate(line))}" for line in stack_info.split("\n"))


class Collapse(logging.Filter):
    """Passes the first lines of a kind in each minute; the last one says that more may have come."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._counts: dict[tuple[str, int, str], int] = {}
        self._began = clock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to log the record."""
        now = self._clock()
        if now - self._began >= _PERIOD or len(self._counts) >= _MOST_KINDS:
            self._counts, self._began = {}, now
        kind = (record.name, record.levelno, self._kind(record))
        self._counts[kind] = count = self._counts.get(kind, 0) + 1
        if count == _MOST_ALIKE:
            record.msg, record.args = (
                f"{record.getMessage()[:MAX_LINE]} (more like this are not logged this minute)",
                (),
            )
            record.exc_info = record.exc_text = None
        return count <= _MOST_ALIKE

    @staticmethod
    def _kind(record: logging.LogRecord) -> str:
        if record.name.startswith(_OURS):
            return record.getMessage()[:MAX_LINE]
        # The message may already contain a stranger's words, so the place of the call is the kind.
        return f"{record.pathname}:{record.lineno}"


def log_to(stream: TextIO | None = None, level: int = logging.WARNING) -> None:
    """Send the process's log to `stream` (default stderr) as safe lines, unless logging is configured already."""
    if logging.root.handlers:
        return
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(LineFormatter())
    handler.addFilter(Collapse())
    logging.root.addHandler(handler)
    logging.root.setLevel(level)
    logging.captureWarnings(capture=True)


def _prints(char: str) -> bool:
    return char == " " or (unicodedata.category(char) not in _INVISIBLE and not char.isspace())


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode("ascii") if char != "\\" else char
