"""Checks a trial by its records alone: yields a violation for every broken promise.

Pure: no I/O, no clock. Each function checks one promise, which is its docstring.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import timedelta

from chaos.doubts import unexplained_doubts
from chaos.records import Evidence, StoredEmail, Violation

from outspool.domain.status import TRANSITIONS, WAITING, EmailStatus, RecipientStatus

_HOUR = timedelta(minutes=60)
_ATTEMPTS = frozenset({"sent", "partial", "refused", "out_of_retries", "deferred", "in_doubt", "expired"})
"""Codes of the events that end an attempt which reached the message, or (``expired``) may have."""

_NEEDS_REASON = frozenset({EmailStatus.FAILED, EmailStatus.PARTIAL, EmailStatus.UNKNOWN})
_LONGEST_STOP = 15.0
"""Seconds in which a process that was told to stop must have ended: far beyond its grace, for busy machines."""


def check(evidence: Evidence) -> list[Violation]:
    """Return every violation there is evidence of."""
    return [violation for promise in _PROMISES for violation in promise(evidence)]


def _accepted_is_stored(evidence: Evidence) -> Iterator[Violation]:
    """Every id that a caller was told is in the store."""
    stored = {email.id for email in evidence.emails}
    for answer in evidence.answers:
        if answer.id is not None and answer.id not in stored:
            yield Violation(promise="accepted means committed", what=f"step {answer.step} was told {answer.id}")


def _refused_is_not_stored(evidence: Evidence) -> Iterator[Violation]:
    """What nobody was told of was asked for, and the asker was left without an answer or in doubt."""
    told = {answer.id for answer in evidence.answers}
    open_questions = Counter(
        answer.subject
        for answer in evidence.answers
        if answer.do == "accept" and (answer.in_doubt or not answer.was_answered)
    )
    for email in evidence.emails:
        if email.id not in told:
            open_questions[email.subject] -= 1
            if open_questions[email.subject] < 0:
                what = f"{email.subject!r} is stored, though refused or never asked for"
                yield Violation(promise="an error means nothing was stored", what=what, emails=(email.id,))


def _one_email_per_key(evidence: Evidence) -> Iterator[Violation]:
    """The same key gives the same email, and one row."""
    rows: dict[str, set[str]] = defaultdict(set)
    for email in evidence.emails:
        if email.key is not None:
            rows[email.key].add(email.id)
    for answer in evidence.answers:
        if answer.do == "accept" and answer.key is not None and answer.id is not None:
            rows[answer.key].add(answer.id)
    for key, ids in rows.items():
        if len(ids) > 1:
            yield Violation(promise="one key, one email", what=f"{key!r} gave {len(ids)}", emails=tuple(sorted(ids)))


def _everything_ends(evidence: Evidence) -> Iterator[Violation]:
    """Every email came to its end, with a reason where it was not simply sent, or waits for its time."""
    if evidence.unsettled:
        yield Violation(promise="none is stuck", what=evidence.unsettled)
    for email in evidence.emails:
        waits = email.status in WAITING and email.due_at > evidence.now
        if email.status is EmailStatus.SENDING or (email.status in WAITING and not waits):
            what = f"{email.status}, due at {email.due_at:%H:%M:%S}, and it is {evidence.now:%H:%M:%S}"
            yield Violation(promise="none is stuck", what=what, emails=(email.id,))
        if email.status in _NEEDS_REASON and not email.problem:
            yield Violation(promise="an end has a reason", what=f"{email.status} without one", emails=(email.id,))


def _recipients_fit(evidence: Evidence) -> Iterator[Violation]:
    """The status of an email is what the statuses of its recipients amount to."""
    allowed = {
        EmailStatus.SENT: {RecipientStatus.SENT},
        EmailStatus.PARTIAL: {RecipientStatus.SENT, RecipientStatus.FAILED},
        EmailStatus.FAILED: {RecipientStatus.FAILED},
        EmailStatus.CANCELED: {RecipientStatus.PENDING, RecipientStatus.DEFERRED, RecipientStatus.FAILED},
        EmailStatus.UNKNOWN: set(RecipientStatus) - {RecipientStatus.PENDING},
    }
    needed = {EmailStatus.PARTIAL: RecipientStatus.SENT, EmailStatus.UNKNOWN: RecipientStatus.UNKNOWN}
    for email in evidence.emails:
        statuses = set(email.recipients.values())
        lacks = email.status in needed and needed[email.status] not in statuses
        if lacks or not statuses <= allowed.get(email.status, statuses):
            what = f"{email.status}, its recipients {', '.join(sorted(statuses))}"
            yield Violation(promise="a status is the truth", what=what, emails=(email.id,))


def _sent_once(evidence: Evidence) -> Iterator[Violation]:
    """Who counts as served has it; who does not has it not; nobody has it twice, unless a doubt was retried."""
    emails = {email.message_id: email for email in evidence.emails}
    copies: Counter[tuple[str, str]] = Counter()
    for mail in evidence.taken:
        if mail.message_id not in emails:
            yield Violation(promise="accepted means committed", what=f"sent {mail.message_id}, which is not stored")
        copies.update((mail.message_id, address) for address in mail.recipients)
    surplus = {email.id: _surplus(email, copies) for email in evidence.emails}
    doubts = sum(excuse.most for excuse in evidence.excuses) if evidence.resends else 0
    for email in evidence.emails:
        if surplus[email.id] and sum(surplus.values()) > doubts:
            what = f"{_copies_in_words(email, copies)} of {email.message_id}"
            yield Violation(promise="nothing is sent twice", what=what, emails=(email.id,))
        if any(s is RecipientStatus.SENT and not copies[email.message_id, a] for a, s in email.recipients.items()):
            what = f"{_copies_in_words(email, copies)} of {email.message_id}"
            yield Violation(promise="sent means taken", what=what, emails=(email.id,))


def _surplus(email: StoredEmail, copies: Counter[tuple[str, str]]) -> int:
    """Return by how many copies somebody has more than the statuses, and the doubts that were retried, account for."""
    may_have = (RecipientStatus.SENT, RecipientStatus.UNKNOWN)
    beyond = (copies[email.message_id, address] - (status in may_have) for address, status in email.recipients.items())
    return max(0, max(beyond, default=0) - _retried_doubts(email))


def _copies_in_words(email: StoredEmail, copies: Counter[tuple[str, str]]) -> str:
    return ", ".join(f"{a} is {s} and has {copies[email.message_id, a]}" for a, s in email.recipients.items())


def _retried_doubts(email: StoredEmail) -> int:
    """Return how often somebody asked for a retry of an email that may have been sent."""
    pairs = zip(email.events, email.events[1:], strict=False)
    return sum(after.code == "retried" and before.status is EmailStatus.UNKNOWN for before, after in pairs)


def _sent_as_stored(evidence: Evidence) -> Iterator[Violation]:
    """What went out is what is stored: no change of the content comes too late and still counts."""
    emails = {email.message_id: email for email in evidence.emails}
    for mail in evidence.taken:
        email = emails.get(mail.message_id)
        may_differ = evidence.resends or (email is not None and _retried_doubts(email))
        if email is not None and mail.subject != email.subject and not may_differ:
            what = f"sent {mail.subject!r}, stored {email.subject!r}"
            yield Violation(promise="what is stored is what is sent", what=what, emails=(email.id,))


def _cancel_is_final(evidence: Evidence) -> Iterator[Violation]:
    """An email whose cancel was confirmed is canceled, or stopped for whoever did not have it yet."""
    emails = {email.id: email for email in evidence.emails}
    for answer in evidence.answers:
        if answer.do != "cancel" or answer.id not in emails:
            continue
        email = emails[answer.id]
        if email.status is not EmailStatus.CANCELED and not any(event.code == "stopped" for event in email.events):
            what = f"the cancel of step {answer.step} was confirmed, and it is {email.status}"
            yield Violation(promise="canceled means never sent", what=what, emails=(email.id,))


def _history_is_lawful(evidence: Evidence) -> Iterator[Violation]:
    """The events begin with the acceptance, follow the table of transitions, and end where the email stands."""
    slack = timedelta(seconds=evidence.slack_seconds)
    for email in evidence.emails:
        if not email.events or email.events[0].code != "accepted" or email.events[-1].status is not email.status:
            ends = f"{email.events[0].code} … {email.events[-1].status}" if email.events else "no events"
            what = f"{email.status}, its history {ends}"
            yield Violation(promise="the history is lawful", what=what, emails=(email.id,))
        for before, after in zip(email.events, email.events[1:], strict=False):
            stays = before.status is after.status and after.code in (
                "updated",
                "retried",
                "policy_overridden",
                "clamped",
                "recalculated",
            )
            if not stays and after.status not in TRANSITIONS[before.status]:
                what = f"from {before.status} ({before.code}) to {after.status} ({after.code})"
                yield Violation(promise="the history is lawful", what=what, emails=(email.id,))
            if after.at < before.at - slack:
                what = f"{after.code} at {after.at} comes after {before.code} at {before.at}"
                yield Violation(promise="the history is in order", what=what, emails=(email.id,))


def _attempts_are_counted(evidence: Evidence) -> Iterator[Violation]:
    """Only what reached the message burns an attempt, and giving up comes after the last of them."""
    for email in evidence.emails:
        attempts = 0
        for before, event in zip((None, *email.events), email.events, strict=False):
            if event.code == "retried" and before is not None and before.status is not EmailStatus.DEFERRED:
                attempts = 0
            attempts += event.code in _ATTEMPTS
        what = f"{email.attempts} attempts, {attempts} in its history, {evidence.max_retries} retries allowed"
        gave_up = email.problem == "out_of_retries" and email.attempts <= evidence.max_retries
        if email.attempts > attempts or email.attempts > evidence.max_retries + 1 or gave_up:
            yield Violation(promise="attempts are not burnt", what=what, emails=(email.id,))


def _rate_holds(evidence: Evidence) -> Iterator[Violation]:
    """No 60 minutes saw more emails accepted than the limit, and nobody was refused before they did."""
    if evidence.rate_limit is None:
        return
    moments = sorted(email.created_at for email in evidence.emails)
    limit = evidence.rate_limit
    slack = timedelta(seconds=evidence.slack_seconds)
    for first, beyond in zip(moments, moments[limit:], strict=False):
        if beyond - first < _HOUR - slack:
            what = f"{limit + 1} emails from {first:%H:%M:%S} to {beyond:%H:%M:%S}, {limit} allowed"
            yield Violation(promise="the rate limit holds", what=what)
            return
    for answer in evidence.answers:
        if answer.error == "rate_limited":
            since, until = answer.at - _HOUR - slack, answer.at + slack
            if sum(since < moment <= until for moment in moments) < limit:
                what = f"step {answer.step} was refused at {answer.at:%H:%M:%S} though there was room"
                yield Violation(promise="the rate limit is exact", what=what)


def _blameless_do_not_fail(evidence: Evidence) -> Iterator[Violation]:
    """What dies, stalls or is away on our side makes no email fail."""
    for email in evidence.emails:
        if email.id in evidence.blameless and email.status in (EmailStatus.FAILED, EmailStatus.PARTIAL):
            what = f"{email.status} ({email.problem}), though no server refused it"
            yield Violation(promise="no outage makes an email fail", what=what, emails=(email.id,))


def _stops_are_clean(evidence: Evidence) -> Iterator[Violation]:
    """A process that is told to stop ends with status 0, within its grace."""
    for exit_ in evidence.exits:
        if exit_.status != 0 or exit_.seconds > _LONGEST_STOP:
            what = f"{exit_.name} ended with {exit_.status} after {exit_.seconds:.1f} s"
            yield Violation(promise="a stop is clean", what=what)


def _calls_are_answered(evidence: Evidence) -> Iterator[Violation]:
    """A call ends with an email or with one of the errors that are for callers."""
    for answer in evidence.answers:
        if answer.error is not None and answer.error not in _ERRORS:
            yield Violation(promise="one clear sentence", what=f"step {answer.step} was told {answer.error}")


_ERRORS = frozenset({"store_unavailable", "wrong_state", "rate_limited"})
"""What a well-formed call of these scenarios may be told."""

_PROMISES = (
    _accepted_is_stored,
    _refused_is_not_stored,
    _one_email_per_key,
    _everything_ends,
    _recipients_fit,
    _sent_once,
    _sent_as_stored,
    _cancel_is_final,
    _history_is_lawful,
    _attempts_are_counted,
    _rate_holds,
    _blameless_do_not_fail,
    _stops_are_clean,
    _calls_are_answered,
    unexplained_doubts,
)
