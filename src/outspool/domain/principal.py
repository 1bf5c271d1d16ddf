"""Callers, and the emails that each may see and change."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

LOCAL_USER = "local"
"""Owner of mail of a process without a configured user, and of versions without owners."""

SANDBOX_USER = "sandbox"
"""Owner of the sandbox's mail; a reserved name."""

USER_NAME = r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}"
"""Regular expression for user names."""


class Role(StrEnum):
    """An agent acts on its user's mail, an operator on everybody's."""

    AGENT = "agent"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The cause of an event, as recorded: user, program and role."""

    user: str
    agent: str = ""
    role: Role = Role.AGENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which emails a call can see: those of `owner` sent from one of `identities`; None means any.

    Every method of the store takes one. `outspool.adapters.sql.scope` turns it into SQL.
    """

    owner: str | None
    identities: frozenset[str] | None

    @classmethod
    def everything(cls) -> Scope:
        """Return the scope of operators and of outspool's own work."""
        return cls(owner=None, identities=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """One caller.

    `user` owns the mail, `agent` is the calling program, `client` its name and version as it reported them.
    `identities` are the sender addresses (lower case) that an agent may use, and whose mail it may see.
    """

    user: str
    identities: frozenset[str]
    agent: str = ""
    client: str = ""
    role: Role = Role.AGENT

    @property
    def scope(self) -> Scope:
        """The emails this caller may see and change. The sandbox never reaches real mail, not even for operators."""
        if self.role is Role.OPERATOR and self.user != SANDBOX_USER:
            return Scope.everything()
        return Scope(owner=self.user, identities=self.identities)

    @property
    def actor(self) -> Actor:
        """This caller as events record it."""
        return Actor(user=self.user, agent=self.agent, role=self.role)
