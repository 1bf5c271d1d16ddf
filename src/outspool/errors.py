"""Every deliberate error of outspool.

::

    OutspoolError                     code, message, hint
    ├── Refusal                       the request is at fault; nothing was stored
    │   ├── InvalidArgument           invalid_argument
    │   ├── InvalidAddress            invalid_address
    │   ├── InvalidSchedule           invalid_schedule
    │   ├── NotFound                  not_found
    │   ├── WrongState                wrong_state
    │   ├── IdempotencyConflict       idempotency_conflict
    │   ├── RecipientRefused          recipient_refused (by the operator's policy)
    │   ├── SenderRefused             sender_refused (by the operator's configuration)
    │   ├── AttachmentRefused         attachment_refused
    │   ├── TooLarge                  too_large
    │   ├── RateLimited               rate_limited: the sender's rate limit is reached
    │   ├── TemplateError             template_error
    │   └── NotConfigured             not_configured
    ├── StoreUnavailable              store_unavailable: the database cannot be used now
    │   ├── StoreMisconfigured        misconfigured: … until an operator fixes it
    │   └── BlobsUnavailable          … or the blob store cannot
    ├── AttachmentLost                attachment_lost: its bytes are missing or have changed
    ├── AccountTrouble                the SMTP account, not the email, is at fault
    ├── QuotaReached                  the SMTP account's daily quota is used up
    ├── LeaseLost                     another worker may own the email now: do not send it
    └── MisconfiguredError            the process cannot start like this

An error is for a person or a model: ``str(error)`` is one line, ``code: what is wrong. What to do.``
It never holds a secret, a stack, or a stranger's input at length (see `brief`).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import ClassVar


def printable(text: str, limit: int) -> str:
    """Return at most `limit` characters of a stranger's text, on one line and without control characters."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:limit])


def brief(text: object, limit: int = 60) -> str:
    """Quote a stranger's input for an error: printable, on one line, at most `limit` characters."""
    raw = str(text)
    return f'"{printable(raw, limit)}…"' if len(raw) > limit else f'"{printable(raw, limit)}"'


class OutspoolError(Exception):
    """Base of every deliberate error: `message` says what is wrong, `hint` what to do."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, hint: str = "") -> None:
        """Take two plain sentences; `hint` may be empty if the message is enough."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return ``code: message hint`` on one line."""
        return f"{self.code}: {self.message} {self.hint}".rstrip()


class Refusal(OutspoolError):
    """The request is at fault; nothing was stored or changed."""

    kinds: frozenset[type[Refusal]] = frozenset()
    """The classes of the faults that it says together (`outspool.domain.refusals`); empty for a single one."""


class InvalidArgument(Refusal):
    """An argument is missing, unknown, of the wrong type, or impossible in an email."""

    code = "invalid_argument"


class InvalidAddress(Refusal):
    """An address is not one deliverable mailbox."""

    code = "invalid_address"


class InvalidSchedule(Refusal):
    """A time is ambiguous, past, nonexistent or absurd."""

    code = "invalid_schedule"


class NotFound(Refusal):
    """No email has this id."""

    code = "not_found"


class WrongState(Refusal):
    """The email's status does not allow this."""

    code = "wrong_state"


class IdempotencyConflict(Refusal):
    """The idempotency key already belongs to another payload."""

    code = "idempotency_conflict"


class RecipientRefused(Refusal):
    """The operator's policy does not allow this recipient."""

    code = "recipient_refused"


class SenderRefused(Refusal):
    """The operator's configuration does not allow this sender."""

    code = "sender_refused"


class AttachmentRefused(Refusal):
    """An attachment is not a readable file that may be sent, or its description is invalid."""

    code = "attachment_refused"


class TooLarge(Refusal):
    """The message exceeds the operator's size limit."""

    code = "too_large"


class RateLimited(Refusal):
    """The sender's rate limit is reached."""

    code = "rate_limited"

    def __init__(self, message: str, hint: str = "", *, retry_after: float, retry_at: datetime) -> None:
        """Retry after `retry_after` seconds, at `retry_at` (UTC)."""
        super().__init__(message, hint)
        self.retry_after = retry_after
        self.retry_at = retry_at


class TemplateError(Refusal):
    """The template is missing or broken, or does not fit its variables."""

    code = "template_error"


class NotConfigured(Refusal):
    """No SMTP account is configured, so nothing can be sent."""

    code = "not_configured"


class StoreUnavailable(OutspoolError):
    """The database cannot be used now; nothing happened, unless `in_doubt`: then it may have."""

    code = "store_unavailable"

    def __init__(self, message: str, hint: str = "", *, in_doubt: bool = False) -> None:
        """`in_doubt`: a commit was running when the connection was lost."""
        super().__init__(message, hint)
        self.in_doubt = in_doubt


class StoreMisconfigured(StoreUnavailable):
    """The database cannot be used until an operator fixes something."""

    code = "misconfigured"


class BlobsUnavailable(StoreUnavailable):
    """The blob store cannot be used now; nothing was changed."""


class AttachmentLost(OutspoolError):
    """The bytes of an attachment are missing or have changed since they were stored."""

    code = "attachment_lost"


class TroubleKind(StrEnum):
    """Kind of account trouble; it determines the pause (`outspool.domain.retry`)."""

    NETWORK = "network"
    TLS = "tls"
    LOGIN = "login"
    THROTTLED = "throttled"


class AccountTrouble(OutspoolError):
    """The SMTP account cannot be used now: it is paused, and the email's attempts do not count."""

    code = "account_trouble"

    def __init__(
        self, kind: TroubleKind, message: str, hint: str = "", *, phase: str = "", reply_code: int | None = None
    ) -> None:
        """`phase` is the command that failed, or empty; `reply_code` the reply's basic code, or None."""
        super().__init__(message, hint)
        self.kind = kind
        self.phase = phase
        self.reply_code = reply_code


class QuotaReached(OutspoolError):
    """The account's daily quota is used up; the email waits, and the attempt does not count."""

    code = "daily_quota"

    def __init__(self, message: str, hint: str = "", *, until: datetime) -> None:
        """`until` is when there is room again (UTC)."""
        super().__init__(message, hint)
        self.until = until


class LeaseLost(OutspoolError):
    """This worker no longer owns the email, so it must not send it."""

    code = "lease_lost"


class MisconfiguredError(OutspoolError):
    """The settings or the command line contradict themselves, so the process does not start."""

    code = "misconfigured"
