"""Who calls, and which emails they may see and change."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

LOCAL_USER = "local"
"""Owns the mail of a process that names no user, and the mail of versions that knew no owners."""

SANDBOX_USER = "sandbox"
"""Owns the sandbox's mail. Nobody else may use this name."""

USER_NAME = r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}"
"""What a user may be called: a regular expression."""


class Role(StrEnum):
    """What a caller may do: an agent acts on its user's mail, an operator on everybody's."""

    AGENT = "agent"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who caused an event, as it is recorded: the user, the program that asked, and in which role."""

    user: str
    agent: str = ""
    role: Role = Role.AGENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which emails a call reaches: those of `owner` sent from one of `identities`; None means any.

    Every method of the store takes one. `outspool.adapters.sql.scope` turns it into SQL, in one place.
    """

    owner: str | None
    identities: frozenset[str] | None

    @classmethod
    def everything(cls) -> Scope:
        """Return the scope of operators, and of outspool's own work: delivery, chores, checks."""
        return cls(owner=None, identities=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """One caller.

    `user` owns the mail, `agent` is the program that asks, `client` its name and version as it gave them. `identities`
    are the sender addresses (lower case) that an agent may use; they restrict what it sees, too.
    """

    user: str
    identities: frozenset[str]
    agent: str = ""
    client: str = ""
    role: Role = Role.AGENT

    @property
    def scope(self) -> Scope:
        """What this caller may see and change. The sandbox never reaches real mail, not even for an operator."""
        if self.role is Role.OPERATOR and self.user != SANDBOX_USER:
            return Scope.everything()
        return Scope(owner=self.user, identities=self.identities)

    @property
    def actor(self) -> Actor:
        """This caller as events record it."""
        return Actor(user=self.user, agent=self.agent, role=self.role)
