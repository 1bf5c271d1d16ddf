"""The operator's policy: allowed recipients and senders, message size and number of recipients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from outspool.domain.address import parse_mailbox
from outspool.domain.answer_addresses import find_addresses, find_unsubscribe_hosts
from outspool.domain.email import Mailbox
from outspool.domain.provider_headers import HARMLESS
from outspool.domain.setting import Setting
from outspool.errors import (
    InvalidAddress,
    InvalidArgument,
    MisconfiguredError,
    NotConfigured,
    RecipientRefused,
    SenderRefused,
    brief,
)

_SHOWN = 3


def parse_pattern(pattern: str) -> str:
    """Return a recipient pattern in lower-case ASCII: an address, or ``@domain``.

    ``@example.com`` matches that domain only, not its sub-domains. Raises `MisconfiguredError` for anything else,
    because a pattern that matches nothing would silently deny nothing.
    """
    text = pattern.strip()
    local = "anyone" if text.startswith("@") else ""
    with suppress(InvalidAddress):
        mailbox = parse_mailbox(local + text, "pattern", internal=None)
        if not mailbox.name and "*" not in text:
            return _fold(mailbox.address).removeprefix(local)
    raise MisconfiguredError(
        f"The recipient pattern {brief(pattern)} is neither an address nor an @domain.",
        "Write bob@example.com, or @example.com for everybody in that domain; there are no wildcards.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The operator's limits on every email.

    `allowed` None allows every recipient, an empty tuple none; `denied` wins over `allowed`. Both hold patterns for
    `parse_pattern`, which may raise `MisconfiguredError`. `max_message_bytes` counts the encoded message. `sender` is
    the configured From; `account` is the SMTP login if it is an address. `allowed_headers` are names that callers may
    set although providers act on them. `internal_domains` are the domains, in lower case, that the operator names so:
    they may be known to an internal network only.
    """

    allowed: tuple[str, ...] | None = None
    denied: tuple[str, ...] = ()
    max_message_bytes: int = 25 * 1024 * 1024
    max_recipients: int = 100
    sender: Mailbox | None = None
    account: str | None = None
    allowed_headers: tuple[str, ...] = HARMLESS
    internal_domains: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """Normalise the patterns, and note their domains."""
        if self.allowed is not None:
            object.__setattr__(self, "allowed", tuple(map(parse_pattern, self.allowed)))
        object.__setattr__(self, "denied", tuple(map(parse_pattern, self.denied)))
        own = () if self.sender is None else (self.sender.address,)
        named = [*(self.allowed or ()), *own, *filter(None, (self.account,))]
        object.__setattr__(self, "internal_domains", frozenset(_fold(one).rpartition("@")[2] for one in named))

    def check_recipients(self, mailboxes: Sequence[Mailbox]) -> None:
        """Raise `RecipientRefused`, naming the first, if the policy forbids any of them."""
        _refuse([m for m in mailboxes if _matches(m, self.denied)], Setting.DENIED_RECIPIENTS)
        if self.allowed is not None:
            _refuse([m for m in mailboxes if not _matches(m, self.allowed)], Setting.ALLOWED_RECIPIENTS)

    def refuses(self, mailbox: Mailbox) -> bool:
        """Tell whether the policy forbids this recipient."""
        return _matches(mailbox, self.denied) or (self.allowed is not None and not _matches(mailbox, self.allowed))

    def check_sender(self, sender: Mailbox) -> None:
        """Raise `SenderRefused` if the policy no longer allows this sender."""
        try:
            self.choose_sender(sender)
        except InvalidArgument:
            assert self.sender is not None
            raise SenderRefused(
                f"This server no longer sends as {brief(sender.address)}, only as {self.sender.address}.",
                f"The operator decides this with {Setting.SENDER}, "
                "or sends it with `outspool retry --override-policy`.",
            ) from None

    def check_answers(self, sender: Mailbox, reply_to: Sequence[Mailbox], headers: Mapping[str, str]) -> None:
        """Raise `RecipientRefused` if answers to the email would reach a forbidden address.

        With `allowed` or `denied` set, Reply-To, receipts and unsubscribe addresses obey them too; `sender` and the
        account are always allowed. A web address must be in an allowed domain or the sender's.
        """
        if self.allowed is None and not self.denied:
            return
        named = [*reply_to, *find_addresses(headers, internal=self.internal_domains)]
        own = {_fold(sender.address), _fold(self.account or "")}
        self.check_recipients([mailbox for mailbox in named if _fold(mailbox.address) not in own])
        if self.allowed is None:
            return
        domains = [pattern[1:] for pattern in self.allowed if pattern.startswith("@")]
        domains.append(_fold(sender.address).rpartition("@")[2])
        for host in find_unsubscribe_hosts(headers):
            if not any(host == domain or host.endswith(f".{domain}") for domain in domains):
                raise RecipientRefused(
                    f"The operator does not allow List-Unsubscribe to lead to {brief(host)}.",
                    "Give an address or page of an allowed domain, or ask the operator, who decides this with "
                    f"{Setting.ALLOWED_RECIPIENTS}.",
                )

    def choose_sender(self, requested: Mailbox | None) -> Mailbox:
        """Return the From: `sender`, or `requested` if it has the address of `sender` or of `account`.

        The caller chooses the display name; without one the configured name is used. Raises `InvalidArgument` for
        another address, and `NotConfigured` if nothing is configured or requested.
        """
        if self.sender is None:
            if requested is None:
                raise NotConfigured("No sender is configured.", f"The operator sets {Setting.SENDER}; or give `from`.")
            return requested
        if requested is None:
            return self.sender
        if _fold(requested.address) == _fold(self.sender.address):
            return requested if requested.name else self.sender
        if self.account is not None and _fold(requested.address) == _fold(self.account):
            return requested
        raise InvalidArgument(
            f"from: this server sends as {self.sender.address} only, not as {brief(requested.address)}.",
            "Leave `from` out; to have answers go elsewhere, give `reply_to`.",
        )


def _fold(address: str) -> str:
    return address.lower()


def _matches(mailbox: Mailbox, patterns: Sequence[str]) -> bool:
    address = _fold(mailbox.address)
    return address in patterns or f"@{address.rpartition('@')[2]}" in patterns


def _refuse(refused: Sequence[Mailbox], setting: Setting) -> None:
    if not refused:
        return
    names = ", ".join(brief(m.address) for m in refused[:_SHOWN])
    more = f" and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
    raise RecipientRefused(
        f"The operator does not allow mail to {names}{more}.",
        f"Leave them out, or ask the operator, who decides this with {setting}.",
    )
