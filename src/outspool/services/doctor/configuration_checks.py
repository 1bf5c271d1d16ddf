"""The doctor's checks of the settings and the templates, which need no database."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from outspool.domain.email import Mailbox, Problem
from outspool.domain.setting import Setting
from outspool.services.doctor.findings import Finding, fail, ok, warn
from outspool.services.templates.catalog import TemplateCard

_SHOWN = 3
_SHOWN_TEMPLATES = 10
_SIMILARITY = 0.75
"""Similarity at which a name counts as a misspelling of another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The settings that `doctor` checks, without secrets.

    `source` says where they were read. `account` describes how emails are sent, `obstacle` why none can be. `gmail` is
    the Gmail account's address, if any; `has_odd_app_password`: its password is not what Google makes;
    `has_two_accounts`: one for Gmail and another, which wins. `ignored_files` are `.env` files that another user may
    have written, with the reason. `unknown_names` are variables that look like outspool's but are not; `known_names`
    are outspool's. `missing_library` says what a setting needs that is not installed.
    """

    source: str
    account: str
    obstacle: Problem | None
    is_sandbox: bool
    sender: Mailbox | None
    gmail: str | None
    has_odd_app_password: bool
    has_two_accounts: bool
    allowed: Sequence[str] | None
    denied: Sequence[str]
    ignored_files: Sequence[tuple[str, str]]
    unknown_names: Sequence[str]
    known_names: Sequence[str]
    missing_library: Problem | None


def check_configuration(setup: Setup) -> Iterator[Finding]:
    """Yield the findings."""
    yield ok("source", f"Settings are read from {setup.source}.")
    yield _account(setup)
    if setup.has_odd_app_password:
        problem = f"{Setting.GMAIL_PASSWORD.at_start} is not 16 letters, so it seems to be no app password."
        yield warn("password", problem, "Create one at https://myaccount.google.com/apppasswords and set it there.")
    if setup.missing_library is not None:
        yield fail("attachments", setup.missing_library.message, setup.missing_library.hint)
    if setup.has_two_accounts:
        gmail, host = Setting.GMAIL_ADDRESS, Setting.MAIL_SERVER
        yield warn("account", f"{gmail.at_start} and {host} are both set, and {host} wins.", "Unset one of them.")
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
        return warn("sender", "No sender is set, so every email must name its own.", f"Set {Setting.SENDER}.")
    if setup.gmail and sender.address.lower() != setup.gmail.lower():
        return warn(
            "sender",
            f"{Setting.SENDER.at_start} is {sender.address}, the account {setup.gmail}: "
            "Gmail puts its own address into From.",
            f'Add the address in Gmail under "Send mail as", or leave {Setting.SENDER} unset.',
        )
    return ok("sender", f"Emails are from {sender.address}.")


def _recipients(setup: Setup) -> Finding:
    if setup.allowed is None:
        allowed = "Everybody may be written to"
    elif not setup.allowed:
        nobody = f"{Setting.ALLOWED_RECIPIENTS.at_start} allows nobody."
        return warn("recipients", nobody, "Name addresses or @domains, or unset it.")
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


def check_templates(cards: Sequence[TemplateCard], *, missing_folder: str) -> Finding:
    """Say which there are; `missing_folder` is one that is set and does not exist, empty if there is none."""
    if missing_folder:
        finding = f"{Setting.TEMPLATE_FOLDER.at_start} is {missing_folder}, which is no folder."
        return warn("templates", finding, "Make it, or unset it.")
    if broken := [card for card in cards if card.trouble]:
        rest = f" So are {len(broken) - 1} others." if len(broken) > 1 else ""
        finding = f"{broken[0].name} is broken: {broken[0].trouble}{rest}"
        return warn("templates", finding, "Mend the file, or remove it.")
    names = [card.name for card in cards]
    more = f" and {len(names) - _SHOWN_TEMPLATES} more" if len(names) > _SHOWN_TEMPLATES else ""
    return ok("templates", f"{', '.join(names[:_SHOWN_TEMPLATES])}{more}.")
