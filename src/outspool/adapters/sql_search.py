"""The statements behind `list_emails`: keyset pages over ids that grow with time (UUIDv7), and counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from outspool.adapters.sql_tables import emails, recipients, tags
from outspool.ports import Search

_TEXTS = ("body", "html")
_BRIEF = (*(c for c in emails.c if c.name not in _TEXTS), *(sa.null().label(name) for name in _TEXTS))


def page(search: Search) -> sa.Select[Any]:
    """Return a statement for one page, newest first, and one row more when another page follows.

    The texts are left out: a page of large emails would fill the memory with what no list shows.
    """
    return sa.select(*_BRIEF).where(*_conditions(search)).order_by(emails.c.id.desc()).limit(search.limit + 1)


def counts() -> sa.Select[str, int]:
    """Return a statement for the number of emails in each status."""
    return sa.select(emails.c.status, sa.func.count()).group_by(emails.c.status)


def _conditions(search: Search) -> Iterator[sa.ColumnElement[bool]]:
    if search.status is not None:
        yield emails.c.status == search.status.value
    if search.recipient is not None:
        to = sa.select(recipients.c.email_id).where(sa.func.lower(recipients.c.address) == search.recipient.lower())
        yield emails.c.id.in_(to)
    if search.tag is not None:
        yield emails.c.id.in_(sa.select(tags.c.email_id).where(tags.c.tag == search.tag))
    if search.query is not None:
        yield emails.c.subject.icontains(search.query, autoescape=True)
    if search.created_after is not None:
        yield emails.c.created_at >= search.created_after
    if search.created_before is not None:
        yield emails.c.created_at < search.created_before
    if search.before_id is not None:
        yield emails.c.id < search.before_id
