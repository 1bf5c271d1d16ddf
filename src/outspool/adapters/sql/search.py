"""The statements behind `list_emails`: keyset pages over ids that grow with time (UUIDv7), and counts.

However much mail there is, a page costs the same: filters are ranges of an index, words are sought in a window of the
newest emails, and counting ends where it says nothing more to anybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from outspool.adapters.sql.scope import is_visible
from outspool.adapters.sql.tables import emails, recipients, tags
from outspool.adapters.uuid7 import least_id
from outspool.domain.principal import Scope
from outspool.domain.status import EmailStatus
from outspool.ports.emails import MOST_COUNTED, Search

SEARCHED = 10_000
"""So many emails are looked through for words in their subjects before a page ends."""

_TEXTS = ("body", "html")
_BRIEF = (*(c for c in emails.c if c.name not in _TEXTS), *(sa.null().label(name) for name in _TEXTS))


def page(search: Search, scope: Scope) -> sa.Select[Any]:
    """Return a statement for one page, newest first, and one row more when another page follows.

    The texts are left out: a page of large emails would fill the memory with what no list shows.
    """
    statement = sa.select(*_BRIEF).order_by(emails.c.id.desc()).limit(search.limit + 1)
    if search.query is None:
        return statement.where(*_conditions(search, scope))
    # The window is read first, whatever the planner thinks: its LIMIT stays where it is.
    window = _newest(search, scope).add_columns(emails.c.subject).limit(SEARCHED).subquery()
    has_words = window.c.subject.icontains(search.query, autoescape=True)
    hits = sa.select(window.c.id).where(has_words).order_by(window.c.id.desc()).limit(search.limit + 1)
    return statement.where(emails.c.id.in_(hits))


def end_of_window(search: Search, scope: Scope) -> sa.Select[UUID]:
    """Return a statement for the last email that was looked through for words; no row when there are no more."""
    return _newest(search, scope).offset(SEARCHED - 1).limit(1)


def counts(scope: Scope) -> sa.Select[str, int]:
    """Return a statement for the number of emails of `scope` in each status, of each at most `MOST_COUNTED`."""
    some = [
        sa.select(emails.c.status)
        .where(emails.c.status == str(status), is_visible(scope))
        .limit(MOST_COUNTED)
        .subquery()
        for status in EmailStatus
    ]
    each = sa.union_all(*(sa.select(of_one.c.status) for of_one in some)).subquery()
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
