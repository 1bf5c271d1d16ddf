"""Turns a `Scope` into SQL: the one place that decides which emails a caller can see."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from outspool.adapters.sql.tables import OWNER, emails
from outspool.domain.principal import Scope


def is_visible(scope: Scope) -> sa.ColumnElement[bool]:
    """Return the condition on `emails`. An email outside the scope behaves as if it did not exist."""
    conditions: list[sa.ColumnElement[Any]] = []
    if scope.owner is not None:
        conditions.append(OWNER == scope.owner)  # noqa: SIM300 - the constant is a column
    if scope.identities is not None:
        conditions.append(emails.c.lane.in_(sorted(scope.identities)))
    return sa.and_(sa.true(), *conditions)
