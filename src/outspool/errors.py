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
    │   ├── RateLimited               rate_limited: the sender's hour is full
    │   ├── TemplateError             template_error
    │   └── NotConfigured             not_configured
    ├── StoreUnavailable              store_unavailable: the database cannot be used now
    │   ├── StoreMisconfigured        misconfigured: … nor will it, until a person mends it
    │   └── BlobsUnavailable          … nor can the place where attachments are kept
    ├── AttachmentLost                attachment_lost: its bytes are gone, or are no longer what they were
    ├── AccountTrouble                the SMTP account, not the email, is at fault
    ├── QuotaReached                  the SMTP account's day is full
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
    """Return the first `limit` characters of a stranger's text, on one line and without control characters."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:limit])


def brief(text: object, limit: int = 60) -> str:
    """Quote a stranger's input for an error: printable, on one line, at most `limit` characters."""
    raw = str(text)
    return f'"{printable(raw, limit)}…"' if len(raw) > limit else f'"{printable(raw, limit)}"'


class OutspoolError(Exception):
    """Base of every deliberate error: `message` says what is wrong, `hint` what to do."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, hint: str = "") -> None:
        """Take two plain sentences; the hint may be left out when the message says it all."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return ``code: message hint`` on one line."""
        return f"{self.code}: {self.message} {self.hint}".rstrip()


class Refusal(OutspoolError):
    """The request is at fault; nothing was stored or changed."""


class InvalidArgument(Refusal):
    """An argument is missing, unknown, of the wrong type, or holds what no email can hold."""

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
    """The idempotency key already stands for another payload."""

    code = "idempotency_conflict"


class RecipientRefused(Refusal):
    """The operator's policy does not allow this recipient."""

    code = "recipient_refused"


class SenderRefused(Refusal):
    """The operator's configuration does not allow mail in this name."""

    code = "sender_refused"


class AttachmentRefused(Refusal):
    """An attachment is not one readable file that this server may send, or is described by what no email can hold."""

    code = "attachment_refused"


class TooLarge(Refusal):
    """The message would be larger than the operator allows."""

    code = "too_large"


class RateLimited(Refusal):
    """So many emails were accepted lately that the operator wants no more now."""

    code = "rate_limited"

    def __init__(self, message: str, hint: str = "", *, retry_after: float, retry_at: datetime) -> None:
        """Say beside the two sentences when it may be asked again: in `retry_after` seconds, at `retry_at` (UTC)."""
        super().__init__(message, hint)
        self.retry_after = retry_after
        self.retry_at = retry_at


class TemplateError(Refusal):
    """There is no such template, it is broken, or it and its variables do not go together."""

    code = "template_error"


class NotConfigured(Refusal):
    """No SMTP account is set, so nothing could ever be sent."""

    code = "not_configured"


class StoreUnavailable(OutspoolError):
    """The database cannot be used now; what was asked did not happen, unless `in_doubt`: then it may have."""

    code = "store_unavailable"

    def __init__(self, message: str, hint: str = "", *, in_doubt: bool = False) -> None:
        """Say beside the two sentences whether a commit was under way when the database went."""
        super().__init__(message, hint)
        self.in_doubt = in_doubt


class StoreMisconfigured(StoreUnavailable):
    """The database cannot be used like this, and that does not pass by itself: a person must mend it first."""

    code = "misconfigured"


class BlobsUnavailable(StoreUnavailable):
    """The place where attachments are kept cannot be used now; nothing of what was asked happened."""


class AttachmentLost(OutspoolError):
    """The bytes of an attachment are not where they were stored, or are no longer those that were stored."""

    code = "attachment_lost"


class TroubleKind(StrEnum):
    """What ails an SMTP account; decides how long it rests (`outspool.domain.retry`)."""

    NETWORK = "network"
    TLS = "tls"
    LOGIN = "login"
    THROTTLED = "throttled"


class AccountTrouble(OutspoolError):
    """The SMTP account cannot be used now: the account is paused, the email keeps its attempts."""

    code = "account_trouble"

    def __init__(
        self, kind: TroubleKind, message: str, hint: str = "", *, phase: str = "", reply_code: int | None = None
    ) -> None:
        """Say beside the two sentences which kind of trouble it is, at which command, and the reply's basic code.

        Without a reply the code is None; `phase` may be empty, when nobody tried.
        """
        super().__init__(message, hint)
        self.kind = kind
        self.phase = phase
        self.reply_code = reply_code


class QuotaReached(OutspoolError):
    """The account has handed over as many recipients as it may in a day; the email waits, its attempts unburnt."""

    code = "daily_quota"

    def __init__(self, message: str, hint: str = "", *, until: datetime) -> None:
        """Say beside the two sentences when there will be room (UTC)."""
        super().__init__(message, hint)
        self.until = until


class LeaseLost(OutspoolError):
    """This worker no longer owns the email, so it must not send it."""

    code = "lease_lost"


class MisconfiguredError(OutspoolError):
    """The settings or the command line contradict themselves: refuse to start, say why."""

    code = "misconfigured"
