"""Describes an email's state in one plain sentence, for people and models.

``sent`` means that the next server accepted the email (RFC 5321 §6.1), so no sentence says "delivered".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from outspool.domain.email import Email, Recipient
from outspool.domain.outlook import Outlook, Pause, Senders
from outspool.domain.recurrence import Recurrence
from outspool.domain.schedule import describe_wait
from outspool.domain.series import Series
from outspool.domain.status import EmailStatus, RecipientStatus
from outspool.domain.transition import RESOLVED

_NAMED_LIMIT = 3
"""Number of recipients named in a sentence; the others are counted."""

_QUOTE_LIMIT = 140
"""Most characters of a server's reply in a sentence; the structured result has it whole."""


def summarize(email: Email, *, now: datetime, outlook: Outlook | None = None) -> str:
    """Describe `email` at `now` in a sentence or two, and who will send it if it waits."""
    outlook = outlook or Outlook()
    if isinstance(email, Series) and email.status in _SERIES_SENTENCES:
        return _SERIES_SENTENCES[email.status](email, now, outlook)
    return _SENTENCES[email.status](email, now, outlook)


def next_attempt_at(email: Email, *, pause: Pause | None = None) -> datetime | None:
    """Return when the next attempt may start (UTC); None if there is none without a person's action."""
    if email.status not in (EmailStatus.SCHEDULED, EmailStatus.QUEUED, EmailStatus.DEFERRED):
        return None
    return max(email.due_at, pause.until) if pause else email.due_at


def _describe_held(_email: Email, _now: datetime, _outlook: Outlook) -> str:
    return "Held: it waits for a person's approval and was not sent."


def _describe_scheduled(email: Email, now: datetime, outlook: Outlook) -> str:
    when = outlook.time(email.due_at, email.timezone)
    if email.due_at <= now:
        return f"Scheduled for {when}: due now. {describe_senders(now, outlook)}"
    return f"Scheduled for {when}, {describe_wait(now, email.due_at)}. {describe_senders(now, outlook, later=True)}"


def _describe_queued(_email: Email, now: datetime, outlook: Outlook) -> str:
    return f"Accepted and queued. {describe_senders(now, outlook)}"


def describe_senders(now: datetime, outlook: Outlook, *, later: bool = False) -> str:
    """Say who sends a waiting email, and what must happen first; `later`: it is not due yet."""
    if outlook.silence:
        return f"{_close(_clip(outlook.silence))} It goes out by itself when the server answers."
    sender, pause = _SENDER_SENTENCES[outlook.senders, later], outlook.pause
    if pause is None or pause.until <= now:
        return sender
    if not pause.needs_person:
        return f"The SMTP account is paused until {outlook.time(pause.until)}. {_explain_pause(pause)} {sender}"
    again = f"It is tried again at {outlook.time(pause.until)} and from then on by itself."
    return (
        f"The SMTP account does not work, and nothing is sent until a person fixes it. {_explain_pause(pause)} "
        f"{sender if outlook.senders is Senders.NONE else again}"
    )


def _explain_pause(pause: Pause) -> str:
    """Return what to do, then why: the reason may end in a server's words."""
    reason = _close(_clip(pause.reason)) if pause.reason else ""
    return " ".join(filter(None, (pause.fix, reason)))


_NO_WORKER = "No worker is running, so nothing sends it until `outspool worker` or `outspool serve` is started."
_SENDER_SENTENCES = {
    (Senders.NONE, False): _NO_WORKER,
    (Senders.NONE, True): _NO_WORKER,
    (Senders.LASTING, False): "It goes out by itself.",
    (Senders.LASTING, True): "It goes out by itself.",
    (Senders.WITH_CLIENT, False): (
        "It goes out while an app that runs outspool is open; `outspool worker` sends without one."
    ),
    (Senders.WITH_CLIENT, True): (
        "It goes out then if an app that runs outspool is open, else when one is next opened; `outspool worker` sends "
        "without one."
    ),
}


def _describe_sending(_email: Email, now: datetime, outlook: Outlook) -> str:
    if outlook.silence:
        return f"Not sent yet. {describe_senders(now, outlook)}"
    return "Being handed to the mail server right now."


def _describe_deferred(email: Email, now: datetime, outlook: Outlook) -> str:
    progress = _describe_progress(email)
    pause = outlook.pause
    if pause is not None and pause.until > max(now, email.due_at):
        return f"{progress}Not sent yet. {describe_senders(now, outlook)}"
    if outlook.senders is Senders.NONE:
        return f"{progress}Not sent yet: {_close(_reason(email))} {describe_senders(now, outlook)}"
    when = f"{describe_wait(now, email.due_at)}, at {outlook.time(email.due_at)}" if email.due_at > now else "now"
    waiting = _close(f"Not sent yet: {_reason(email)}")
    until = f"It is tried again {when}, and by itself until {outlook.time(email.expires_at)}."
    return f"{progress}{waiting} {until} {_SENDER_SENTENCES[outlook.senders, True]}".removesuffix(
        " It goes out by itself."
    )


def _describe_sent(email: Email, _now: datetime, _outlook: Outlook) -> str:
    if _is_resolved(email):
        return f"Sent: {_reason(email)}"
    whom = email.recipients[0].address if len(email.recipients) == 1 else f"{len(email.recipients)} recipients"
    replies = {r.reply.quote() for r in email.recipients if r.reply}
    reply_text = f"; {_clip(replies.pop())}" if len(replies) == 1 else ""
    return f"Sent: the next mail server took it for {whom}{reply_text}."


def _describe_partial(email: Email, _now: datetime, _outlook: Outlook) -> str:
    missed = [r for r in email.recipients if r.status is not RecipientStatus.SENT]
    if _is_resolved(email):
        return f"{_describe_progress(email)}{_reason(email)} It does not go to {_list_addresses(missed)}."
    if email.problem is not None and email.problem.code == "stopped":
        return f"{_describe_progress(email)}{_close(f'Canceled for {_list_addresses(missed)}')}"
    refused = [r for r in missed if r.status is RecipientStatus.FAILED and r.reply]
    if refused:
        return f"{_describe_progress(email)}{_advise(email)}{_close(f'Refused for {_describe_recipients(refused)}')}"
    return f"{_describe_progress(email)}{_close(f'Not sent to {_list_addresses(missed)}: {_reason(email)}')}"


def _describe_failed(email: Email, _now: datetime, _outlook: Outlook) -> str:
    refused = [r for r in email.recipients if r.status is RecipientStatus.FAILED and r.reply]
    if refused and len(refused) == len(email.recipients):
        return f"Failed. {_advise(email)}{_close(f'Refused for {_describe_recipients(refused)}')}"
    return f"Failed. {_advise(email)}{_close(_reason(email))}"


def _describe_canceled(email: Email, _now: datetime, _outlook: Outlook) -> str:
    said = f"{_reason(email)} It never will be." if _is_resolved(email) else "it was not sent and never will be."
    return f"Canceled: {said}"


def _is_resolved(email: Email) -> bool:
    """Tell whether the outcome is what an operator said, and no server."""
    return email.problem is not None and email.problem.code == RESOLVED


def _describe_unknown(email: Email, _now: datetime, _outlook: Outlook) -> str:
    doubtful = [r for r in email.recipients if r.status is not RecipientStatus.SENT]
    return (
        f"{_describe_progress(email)}Unknown for {_list_addresses(doubtful)}: the connection or outspool stopped after "
        "the message was handed over and before the server answered, so it may or may not have been sent. "
        "retry_email may send it twice: ask the person first."
    )


def _describe_bounced(email: Email, _now: datetime, _outlook: Outlook) -> str:
    return _close(f"Bounced: {_reason(email)}")


def _describe_recurring(series: Series, now: datetime, outlook: Outlook) -> str:
    rule = series.recurrence
    after = replace(rule, made=rule.made + 1).next_after(series.due_at)
    then = f", then {outlook.time(after, rule.timezone)}" if after else ", and that is the last"
    wait = describe_wait(now, series.due_at) if series.due_at > now else "now"
    ends = f", until {outlook.time(rule.until, rule.timezone)}" if rule.until else ""
    return (
        f"A series, {rule.cron} in {rule.timezone}{ends}{_describe_made(rule, ', ')}: "
        f"next at {outlook.time(series.due_at, rule.timezone)}, {wait}{then}. "
        f"{describe_senders(now, outlook, later=True)}"
    )


def _describe_paused(series: Series, _now: datetime, _outlook: Outlook) -> str:
    rule = series.recurrence
    why = f" {_close(_clip(series.problem.message))}" if series.problem is not None else ""
    return f"A series, paused{_describe_made(rule, ' after ')}.{why} It makes no emails until update_email resumes it."


def _describe_ended(series: Series, _now: datetime, _outlook: Outlook) -> str:
    rule = series.recurrence
    return f"A series that is over{_describe_made(rule, ', ')}. Each of its emails has an id of its own."


def _describe_canceled_series(series: Series, _now: datetime, _outlook: Outlook) -> str:
    return f"A series, canceled: it makes no more emails{_describe_made(series.recurrence, ' after ')}."


def _describe_unreadable(email: Email, _now: datetime, _outlook: Outlook) -> str:
    return f"{_close(f'Unreadable: {_reason(email)}')} It is set aside: nothing is sent until the operator mends it."


def _describe_made(rule: Recurrence, before: str) -> str:
    """Return how many emails the series has made, after `before`; empty if none."""
    if not rule.made and rule.count is None:
        return ""
    of = f" of {rule.count}" if rule.count is not None else ""
    return f"{before}{rule.made}{of} email{'' if (rule.count or rule.made) == 1 else 's'}"


_Sentence = Callable[[Email, datetime, Outlook], str]

_SENTENCES: Mapping[EmailStatus, _Sentence] = MappingProxyType(
    {
        EmailStatus.HELD: _describe_held,
        EmailStatus.SCHEDULED: _describe_scheduled,
        EmailStatus.QUEUED: _describe_queued,
        EmailStatus.SENDING: _describe_sending,
        EmailStatus.DEFERRED: _describe_deferred,
        EmailStatus.SENT: _describe_sent,
        EmailStatus.PARTIAL: _describe_partial,
        EmailStatus.FAILED: _describe_failed,
        EmailStatus.CANCELED: _describe_canceled,
        EmailStatus.UNKNOWN: _describe_unknown,
        EmailStatus.BOUNCED: _describe_bounced,
        EmailStatus.UNREADABLE: _describe_unreadable,
    }
)

_SERIES_SENTENCES: Mapping[EmailStatus, Callable[[Series, datetime, Outlook], str]] = MappingProxyType(
    {
        EmailStatus.RECURRING: _describe_recurring,
        EmailStatus.PAUSED: _describe_paused,
        EmailStatus.ENDED: _describe_ended,
        EmailStatus.CANCELED: _describe_canceled_series,
    }
)


def _describe_progress(email: Email) -> str:
    taken = sum(r.status is RecipientStatus.SENT for r in email.recipients)
    return f"Taken for {taken} of {len(email.recipients)} recipients. " if taken else ""


def _advise(email: Email) -> str:
    """Return what to do, before the reason; empty if nothing is known that helps."""
    return f"{email.problem.hint} " if email.problem is not None and email.problem.hint else ""


def _reason(email: Email) -> str:
    if email.problem is not None and email.problem.message:
        return _clip(email.problem.message)
    replies = [r.reply.quote() for r in email.recipients if r.reply and r.status is not RecipientStatus.SENT]
    return _clip(replies[0]) if replies else "no reason was recorded"


def _describe_recipients(recipients: Sequence[Recipient]) -> str:
    """Name each recipient with its reply, or all together if the reply is the same."""
    if len({str(r.reply) for r in recipients}) == 1:
        return f"{_list_addresses(recipients)}: {_describe_reply(recipients[0])}"
    shown = "; ".join(f"{r.address}: {_describe_reply(r)}" for r in recipients[:_NAMED_LIMIT])
    return shown + _count_others(recipients)


def _list_addresses(recipients: Sequence[Recipient]) -> str:
    return ", ".join(r.address for r in recipients[:_NAMED_LIMIT]) + _count_others(recipients)


def _count_others(recipients: Sequence[Recipient]) -> str:
    return f" and {len(recipients) - _NAMED_LIMIT} more" if len(recipients) > _NAMED_LIMIT else ""


def _describe_reply(recipient: Recipient) -> str:
    return _clip(recipient.reply.quote()) if recipient.reply is not None else "no reply"


def _clip(words: str) -> str:
    """Keep the text on one line, printable and short; quotes around a server's words stay closed."""
    line = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    if len(line) <= _QUOTE_LIMIT:
        return line
    start = line[: _QUOTE_LIMIT - 2]
    start = start.rpartition(" ")[0] or start
    return f'{start}…"' if start.count('"') % 2 else f"{start}…"


def _close(sentence: str) -> str:
    """End the sentence with one full stop."""
    return sentence if sentence.endswith((".", "!", "?", "…")) else f"{sentence}."
