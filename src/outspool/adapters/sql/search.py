"""The statements behind `list_emails`: keyset pages over ids that grow with time (UUIDv7), and counts.

The cost of a page does not grow with the number of emails: filters are index ranges, words are searched in a window of
the newest emails, and counting stops at `MOST_COUNTED`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from outspool.adapters.sql.scope import is_visible
from outspool.adapters.sql.tables import ID_DIGITS, ID_ENDING, emails, recipients, tags
from outspool.adapters.uuid7 import least_id
from outspool.domain.principal import Scope
from outspool.domain.status import EmailStatus
from outspool.ports.emails import MOST_COUNTED, SHORTEST_ENDING, Search

SEARCHED = 10_000
"""Number of emails whose subjects one page searches for words."""

_TEXTS = ("body", "html")
_COLUMNS = (*(c for c in emails.c if c.name not in _TEXTS), *(sa.null().label(name) for name in _TEXTS))


def page(search: Search, scope: Scope) -> sa.Select[Any]:
    """Build the query for one page, newest first, plus one row if another page follows.

    Bodies are left out: a list does not show them, and a page of large emails would fill the memory.
    """
    statement = sa.select(*_COLUMNS).order_by(emails.c.id.desc()).limit(search.limit + 1)
    if search.query is None:
        return statement.where(*_conditions(search, scope))
    # The LIMIT keeps the planner from merging this subquery, so the window is read first.
    window = _newest(search, scope).add_columns(emails.c.subject).limit(SEARCHED).subquery()
    has_words = window.c.subject.icontains(search.query, autoescape=True)
    hits = sa.select(window.c.id).where(has_words).order_by(window.c.id.desc()).limit(search.limit + 1)
    return statement.where(emails.c.id.in_(hits))


def end_of_window(search: Search, scope: Scope) -> sa.Select[UUID]:
    """Build the query for the last email searched for words; no row if there are no more."""
    return _newest(search, scope).offset(SEARCHED - 1).limit(1)


def with_ending(ending: str, scope: Scope, *, limit: int) -> sa.Select[Any]:
    """Build the query for emails by the end of their id; the index narrows it to one in 65,536."""
    is_meant = (ID_ENDING.in_([ending[-SHORTEST_ENDING:]]), ID_DIGITS.endswith(ending, autoescape=True))
    return sa.select(*_COLUMNS).where(*is_meant, is_visible(scope)).order_by(emails.c.created_at.desc()).limit(limit)


def counts(scope: Scope) -> sa.Select[str, int]:
    """Build the query for the number of emails of `scope` by status, each at most `MOST_COUNTED`."""
    capped = [
        sa.select(emails.c.status)
        .where(emails.c.status == str(status), is_visible(scope))
        .limit(MOST_COUNTED)
        .subquery()
        for status in EmailStatus
    ]
    each = sa.union_all(*(sa.select(subquery.c.status) for subquery in capped)).subquery()
    return sa.select(each.c.status, sa.func.count()).group_by(each.c.status)


def _newest(search: Search, scope: Scope) -> sa.Select[UUID]:
    return sa.select(emails.c.id).where(*_conditions(search, scope)).order_by(emails.c.id.desc())


def _conditions(search: Search, scope: Scope) -> Iterator[sa.ColumnElement[bool]]:
    yield is_visible(scope)
    if search.status is not None:
        yield emails.c.status == search.status.value
    if search.recipient is not None:
        to = sa.select(recipients.c.email_id).where(sa.func.lower(recipients.c.address) == search.recipient.lower())
        yield emails.c.id.in_(to)
    if search.tag is not None:
        yield emails.c.id.in_(sa.select(tags.c.email_id).where(tags.c.tag == search.tag))
    if search.series is not None:
        yield emails.c.series_id == search.series
    if search.created_after is not None:
        yield emails.c.id >= least_id(search.created_after)
    if search.created_before is not None:
        yield emails.c.id < least_id(search.created_before)
    if search.before_id is not None:
        yield emails.c.id < search.before_id
