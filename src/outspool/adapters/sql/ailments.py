"""Describes database failures in words, and tells temporary ones from those that the operator must fix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from outspool.domain.setting import Setting
from outspool.errors import StoreMisconfigured, StoreUnavailable

RETRY = "Nothing was changed. Try again in a moment; if it stays so, run `outspool doctor`."
IN_DOUBT = (
    "What was asked may have been done, or not: look with list_emails or get_status before you ask again, "
    "or repeat the call with the same idempotency_key."
)
_UNTIL_THEN = "Nothing was changed, and trying again does not help until then."

_READ_ONLY = (
    "The database is read-only: a standby, or set so.",
    f"The operator points {Setting.DATABASE} at the primary, with target_session_attrs=read-write for several hosts.",
)
_NO_TABLES = (
    "Tables of outspool are missing in the database.",
    "The operator restores a backup, or uses an empty database.",
)
_NO_ROOM = ("The disk of the database is full.", "The operator frees some space.")
_NO_LOGIN = (
    "The database refuses the login.",
    f"The operator mends the user and password in {Setting.DATABASE}, or the server's pg_hba.conf.",
)

_BY_STATE: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "25006": _READ_ONLY,
        "42501": (
            f"The role of {Setting.DATABASE} may not do what outspool does.",
            "The operator grants it SELECT, INSERT, UPDATE, DELETE on outspool's tables, or makes it their owner.",
        ),
        "42P01": _NO_TABLES,
        "53100": _NO_ROOM,
        "28P01": _NO_LOGIN,
        "28000": _NO_LOGIN,
        "3D000": (
            f"The database that {Setting.DATABASE} names does not exist.",
            "The operator makes it with `createdb`.",
        ),
    }
)
"""Message and fix by SQLSTATE (PostgreSQL, appendix A)."""

_BY_WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "readonly database": (
            "The database file is read-only.",
            "The operator lets this user write to it, and to its folder.",
        ),
        "unable to open database file": (
            "The database file cannot be opened or made.",
            "The operator sees to it that its folder is there, and that this user may write to it.",
        ),
        "database or disk is full": (
            "The disk that holds the outbox is full: free some space.",
            "The operator frees some space.",
        ),
        "No space left": (
            "The disk that holds the outbox is full: free some space.",
            "The operator frees some space.",
        ),
        "malformed": (
            "The database file is damaged.",
            "The operator stops every outspool and runs `outspool restore` with the last backup.",
        ),
        "file is not a database": (
            f"The file that {Setting.DATABASE} names is no SQLite database.",
            "The operator names another, or runs `outspool restore` with the last backup.",
        ),
        "no such table": _NO_TABLES,
        "no such column": _NO_TABLES,
        "locking protocol": (
            "The file system of the database has no locks that work.",
            "The operator keeps the file on a disk of this machine, or uses Postgres.",
        ),
    }
)
"""Message and fix by the words of SQLite or the operating system."""

_BROKEN_CONNECTION = (
    "cannot switch to state",
    "cannot call Transaction",
    "connection was closed in the middle",
    "connection is closed",
    "underlying connection is closed",
)

_POOLER_STATES = frozenset({"26000", "42P05", "08P01"})
"""A prepared statement is missing or already exists: a pooler sent it to another connection."""


def describe(error: Exception, *, in_doubt: bool = False) -> StoreUnavailable:
    """Describe the failure and its fix in a sentence each; never quotes the statement or its parameters."""
    if isinstance(error, PoolTimeout | TimeoutError):
        return StoreUnavailable("The database does not answer in time.", _hint(in_doubt=in_doubt), in_doubt=in_doubt)
    state = find_sqlstate(error)
    if is_broken_connection(error) and state not in _POOLER_STATES:
        return StoreUnavailable(
            "The database closed the connection, as when it restarts.", _hint(in_doubt=in_doubt), in_doubt=in_doubt
        )
    text = _text(error)
    description = _BY_STATE.get(state) or next((said for words, said in _BY_WORDS.items() if words in text), None)
    if state in _POOLER_STATES:
        description = (
            "A pooler between outspool and Postgres hands its statements to other connections.",
            "The operator sets pgbouncer's max_prepared_statements to 0 with this outspool, or connects without it.",
        )
    if description is None or in_doubt:
        message = description[0] if description else f"The database cannot be used: {text}."
        return StoreUnavailable(message, _hint(in_doubt=in_doubt), in_doubt=in_doubt)
    message, fix = description
    return StoreMisconfigured(message, f"{fix} {_UNTIL_THEN}")


def is_about_a_value(error: BaseException) -> bool:
    """Tell whether a statement failed because of a value in it or in a row; the database itself works.

    SQLSTATE class 22 is "data exception"; asyncpg rejects some values before sending them; SQLite's driver decodes
    text.
    """
    text = str(error)
    return (
        find_sqlstate(error).startswith("22")
        or "invalid input for query argument" in text
        or "Could not decode to UTF-8" in text
    )


def is_broken_connection(error: BaseException) -> bool:
    """Tell whether the connection was lost: the server restarted, or an operator ended the session.

    SQLSTATE class 08 and 57P01 to 57P03; after 57P01 asyncpg reports other errors of its own.
    """
    text = str(error)
    return find_sqlstate(error).startswith(("08", "57P0")) or any(words in text for words in _BROKEN_CONNECTION)


def find_sqlstate(error: BaseException) -> str:
    """Return the SQLSTATE that Postgres reported; empty if there is none."""
    for cause in _causes(error):
        state = getattr(cause, "sqlstate", None)
        if isinstance(state, str) and state:
            return state
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.orig if isinstance(seen, DBAPIError) else seen.__cause__


def _text(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    text = str(cause).splitlines()[0][:200] if str(cause) else type(cause).__name__
    return text.partition(">: ")[2] or text  # SQLAlchemy's asyncpg dialect prefixes the class


def _hint(*, in_doubt: bool) -> str:
    return IN_DOUBT if in_doubt else RETRY
