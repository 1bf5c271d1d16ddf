"""The doctor's checks of the settings."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from outspool.domain.email import Mailbox, Problem
from outspool.services.doctor.findings import Finding, fail, ok, warn

_SHOWN = 3
_SIMILARITY = 0.75
"""Similarity at which a name counts as a misspelling of another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The settings that `doctor` checks, without secrets.

    `account` describes how emails are sent, `obstacle` why none can be. `gmail` is the Gmail account's address, if any;
    `has_two_accounts`: one for Gmail and another, which wins. `ignored_files` are `.env` files that another user may
    have written, with the reason. `unknown_names` are variables that look like outspool's but are not; `known_names`
    are outspool's.
    """

    account: str
    obstacle: Problem | None
    is_sandbox: bool
    sender: Mailbox | None
    gmail: str | None
    has_two_accounts: bool
    allowed: Sequence[str] | None
    denied: Sequence[str]
    ignored_files: Sequence[tuple[str, str]]
    unknown_names: Sequence[str]
    known_names: Sequence[str]


def check_configuration(setup: Setup) -> Iterator[Finding]:
    """Yield the findings."""
    yield _account(setup)
    if setup.has_two_accounts:
        yield warn("account", "GMAIL_EMAIL and SMTP_HOST are both set, and SMTP_HOST wins.", "Unset one of them.")
    if setup.obstacle is None:
        yield _sender(setup)
        yield _recipients(setup)
    for path, why in setup.ignored_files:
        yield warn("settings", f"{path} is ignored: {why}.", "Make a file that only you can write to, or remove it.")
    for name in setup.unknown_names:
        yield _check_spelling(name, setup.known_names)


def _account(setup: Setup) -> Finding:
    if setup.obstacle is not None:
        return fail("account", setup.obstacle.message, setup.obstacle.hint)
    if setup.is_sandbox:
        return ok("account", "The sandbox: every email is kept as a file, and nothing is sent.")
    return ok("account", f"Emails are sent {setup.account}.")


def _sender(setup: Setup) -> Finding:
    sender = setup.sender
    if sender is None:
        return warn("sender", "No sender is set, so every email must name its own.", "Set EMAIL_FROM.")
    if setup.gmail and sender.address.lower() != setup.gmail.lower():
        return warn(
            "sender",
            f"EMAIL_FROM is {sender.address}, the account {setup.gmail}: Gmail puts its own address into From.",
            'Add the address in Gmail under "Send mail as", or leave EMAIL_FROM unset.',
        )
    return ok("sender", f"Emails are from {sender.address}.")


def _recipients(setup: Setup) -> Finding:
    if setup.allowed is None:
        allowed = "Everybody may be written to"
    elif not setup.allowed:
        return warn("recipients", "EMAIL_ALLOWED_RECIPIENTS allows nobody.", "Name addresses or @domains, or unset it.")
    else:
        allowed = f"Only {_list_some(setup.allowed)} may be written to"
    return ok("recipients", f"{allowed}, except {_list_some(setup.denied)}." if setup.denied else f"{allowed}.")


def _check_spelling(name: str, known: Sequence[str]) -> Finding:
    similar = difflib.get_close_matches(name.upper(), known, n=1, cutoff=_SIMILARITY)
    fix = f"Did you mean {similar[0]}?" if similar else "Unset it, unless another program reads it."
    return warn("settings", f"{name} is no setting of outspool, so it does nothing.", fix)


def _list_some(patterns: Sequence[str]) -> str:
    rest = f" and {len(patterns) - _SHOWN} more" if len(patterns) > _SHOWN else ""
    return ", ".join(patterns[:_SHOWN]) + rest
