"""Changes of an email's status, each built by name so that no wrong combination can be made."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from outspool.domain.email import Problem, Recipient
from outspool.domain.principal import Actor
from outspool.domain.status import WAITING, EmailStatus, sources

S = EmailStatus

OVERRIDDEN = "policy_overridden"
"""The code of the event of an operator's retry that no policy stops."""
OVERRIDE_DETAIL = "The operator sends it whatever the policy says (outspool retry --override-policy)."


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One lawful change: from any of `sources` to `target`. Use a named constructor, never this one.

    `recipients` None leaves them as they are. `due_at` None leaves the due time. `attempts` None leaves the
    count. `overrides_policy` None leaves the override. `keeps_lease`: the claim's token stays on record, so that its
    worker may still settle a doubt. `actor` is who asked for it, None for outspool itself.
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
        """Refuse a change that the table does not allow."""
        unlawful = self.sources - sources(self.target)
        if unlawful or not self.sources:
            raise ValueError(f"no transition to {self.target} from {sorted(unlawful)}")

    @classmethod
    def sent(cls, *, at: datetime, recipients: tuple[Recipient, ...], attempts: int, detail: str) -> Transition:
        """Every recipient was taken by the next server."""
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
        """Some recipients were taken, the others were refused for good."""
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
        """No recipient was taken and none will be asked again."""
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
        """Another attempt, at `due_at`, will serve the recipients still owed."""
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
        """A claim ended before the message left: nothing was sent, the email is due as before.

        Only for the claim's own worker, under its lease: it knows that, also when others are in doubt already.
        """
        return cls(target=S.QUEUED, sources=_SETTLES, code=code, detail=detail, at=at, recipients=recipients)

    @classmethod
    def canceled(cls, *, at: datetime, actor: Actor | None = None) -> Transition:
        """Never sent to anybody, and never will be."""
        return cls(target=S.CANCELED, sources=WAITING | {S.UNREADABLE}, code="canceled", at=at, actor=actor)

    @classmethod
    def stopped(
        cls, *, at: datetime, recipients: tuple[Recipient, ...], problem: Problem, actor: Actor | None = None
    ) -> Transition:
        """Canceled after some recipients had been taken: the rest will not be asked again."""
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
        """Somebody asked for another try: it is due now, for those not yet taken, with fresh attempts.

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


_SETTLES = frozenset({S.SENDING, S.UNKNOWN})
