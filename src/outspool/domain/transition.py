"""Changes of an email's status; each has a named constructor, so that no wrong combination is possible."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from outspool.domain.email import Problem, Recipient
from outspool.domain.principal import Actor
from outspool.domain.status import WAITING, EmailStatus, sources

S = EmailStatus

OVERRIDDEN = "policy_overridden"
"""Event code of an operator's retry that overrides the policy."""
OVERRIDE_DETAIL = "The operator sends it whatever the policy says (outspool retry --override-policy)."

RESOLVED = "resolved"
"""Code of the event and the problem of an email whose outcome the operator, and no server, has told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One allowed change: from any of `sources` to `target`. Use a named constructor.

    `recipients`, `due_at`, `attempts` and `overrides_policy` stay as they are where None. `keeps_lease`: the lease
    token stays in the row, so that its worker may still record the outcome. `actor` requested the change; None is
    outspool itself.
    """

    target: EmailStatus
    sources: frozenset[EmailStatus]
    code: str
    detail: str = ""
    at: datetime
    recipients: tuple[Recipient, ...] | None = None
    attempts: int | None = None
    due_at: datetime | None = None
    expires_at: datetime | None = None
    problem: Problem | None = None
    overrides_policy: bool | None = None
    keeps_lease: bool = field(default=False)
    actor: Actor | None = None

    def __post_init__(self) -> None:
        """Reject a change that `TRANSITIONS` does not allow."""
        unlawful = self.sources - sources(self.target)
        if unlawful or not self.sources:
            raise ValueError(f"no transition to {self.target} from {sorted(unlawful)}")

    @classmethod
    def sent(cls, *, at: datetime, recipients: tuple[Recipient, ...], attempts: int, detail: str) -> Transition:
        """The next server accepted the email for every recipient."""
        return cls(
            target=S.SENT,
            sources=_SETTLES,
            code="sent",
            detail=detail,
            at=at,
            recipients=recipients,
            attempts=attempts,
        )

    @classmethod
    def partial(cls, *, at: datetime, recipients: tuple[Recipient, ...], attempts: int, problem: Problem) -> Transition:
        """The email was accepted for some recipients and rejected for good for the others."""
        return cls(
            target=S.PARTIAL,
            sources=_SETTLES,
            code="partial",
            detail=problem.message,
            at=at,
            recipients=recipients,
            attempts=attempts,
            problem=problem,
        )

    @classmethod
    def failed(cls, *, at: datetime, recipients: tuple[Recipient, ...], attempts: int, problem: Problem) -> Transition:
        """The email was accepted for no recipient, and no further attempt is made."""
        return cls(
            target=S.FAILED,
            sources=_SETTLES,
            code=problem.code,
            detail=problem.message,
            at=at,
            recipients=recipients,
            attempts=attempts,
            problem=problem,
        )

    @classmethod
    def deferred(
        cls, *, at: datetime, recipients: tuple[Recipient, ...], attempts: int, due_at: datetime, problem: Problem
    ) -> Transition:
        """The next attempt, at `due_at`, is for the recipients still owed."""
        return cls(
            target=S.DEFERRED,
            sources=_SETTLES,
            code=problem.code,
            detail=problem.message,
            at=at,
            recipients=recipients,
            attempts=attempts,
            due_at=due_at,
            problem=problem,
        )

    @classmethod
    def unknown(
        cls, *, at: datetime, recipients: tuple[Recipient, ...] | None, attempts: int | None, problem: Problem
    ) -> Transition:
        """The message was marked and no reply came: the server may have it (RFC 1047)."""
        return cls(
            target=S.UNKNOWN,
            sources=frozenset({S.SENDING}),
            code=problem.code,
            detail=problem.message,
            at=at,
            recipients=recipients,
            attempts=attempts,
            problem=problem,
            keeps_lease=True,
        )

    @classmethod
    def handed_back(
        cls, *, at: datetime, code: str, detail: str, recipients: tuple[Recipient, ...] | None = None
    ) -> Transition:
        """The claim ended before the message was sent; the email is due as before.

        Only the claim's own worker may record this, under its lease, because only it knows that nothing was sent.
        """
        return cls(target=S.QUEUED, sources=_SETTLES, code=code, detail=detail, at=at, recipients=recipients)

    @classmethod
    def canceled(cls, *, at: datetime, actor: Actor | None = None) -> Transition:
        """The email is never sent to anybody."""
        return cls(target=S.CANCELED, sources=WAITING | {S.UNREADABLE}, code="canceled", at=at, actor=actor)

    @classmethod
    def stopped(
        cls, *, at: datetime, recipients: tuple[Recipient, ...], problem: Problem, actor: Actor | None = None
    ) -> Transition:
        """Canceled after some recipients got the email: the others never will."""
        return cls(
            target=S.PARTIAL,
            sources=frozenset({S.DEFERRED}),
            code=problem.code,
            detail=problem.message,
            at=at,
            recipients=recipients,
            problem=problem,
            actor=actor,
        )

    @classmethod
    def retried(
        cls,
        *,
        at: datetime,
        recipients: tuple[Recipient, ...],
        expires_at: datetime,
        overrides_policy: bool = False,
        actor: Actor | None = None,
    ) -> Transition:
        """Requeued by a caller for the recipients who lack it, with attempts reset.

        `overrides_policy`: an operator sends it whatever the policy says, which the event records.
        """
        return cls(
            target=S.QUEUED,
            sources=frozenset({S.FAILED, S.PARTIAL, S.UNKNOWN, S.UNREADABLE}),
            code=OVERRIDDEN if overrides_policy else "retried",
            detail=OVERRIDE_DETAIL if overrides_policy else "",
            overrides_policy=overrides_policy,
            at=at,
            recipients=recipients,
            attempts=0,
            due_at=at,
            expires_at=expires_at,
            actor=actor,
        )

    @classmethod
    def resolved(
        cls, target: EmailStatus, *, at: datetime, recipients: tuple[Recipient, ...], problem: Problem, actor: Actor
    ) -> Transition:
        """The operator has found out what became of a doubtful email; `problem` says what."""
        return cls(
            target=target,
            sources=frozenset({S.UNKNOWN}),
            code=RESOLVED,
            detail=problem.message,
            at=at,
            recipients=recipients,
            problem=problem,
            actor=actor,
        )


_SETTLES = frozenset({S.SENDING, S.UNKNOWN})
