"""What the operator allows: who may be written to, in whose name, how large, to how many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from outspool.domain.address import parse_mailbox
from outspool.domain.answer_addresses import named_addresses, unsubscribe_hosts
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

    ``@example.com`` stands for that domain exactly; its sub-domains need patterns of their own.
    Raises `MisconfiguredError` for anything else: a pattern that matches nothing would silently deny nothing.
    """
    text = pattern.strip()
    local = "anyone" if text.startswith("@") else ""
    with suppress(InvalidAddress):
        mailbox = parse_mailbox(local + text, "pattern")
        if not mailbox.name and "*" not in text:
            return _fold(mailbox.address).removeprefix(local)
    raise MisconfiguredError(
        f"The recipient pattern {brief(pattern)} is neither an address nor an @domain.",
        "Write bob@example.com, or @example.com for everybody in that domain; there are no wildcards.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The operator's limits on every email.

    `allowed` None allows everybody, an empty tuple nobody; `denied` wins over `allowed`. Both hold patterns as
    `parse_pattern` reads them, and raise its `MisconfiguredError`. `max_message_bytes` counts the encoded message.
    `sender` is the configured From, `account` the address of the SMTP account if its login is one. `allowed_headers`
    are names that callers may set although mail providers act on them.
    """

    allowed: tuple[str, ...] | None = None
    denied: tuple[str, ...] = ()
    max_message_bytes: int = 25 * 1024 * 1024
    max_recipients: int = 100
    sender: Mailbox | None = None
    account: str | None = None
    allowed_headers: tuple[str, ...] = HARMLESS

    def __post_init__(self) -> None:
        """Bring the patterns into the one form that is compared."""
        if self.allowed is not None:
            object.__setattr__(self, "allowed", tuple(map(parse_pattern, self.allowed)))
        object.__setattr__(self, "denied", tuple(map(parse_pattern, self.denied)))

    def check_recipients(self, mailboxes: Sequence[Mailbox]) -> None:
        """Raise `RecipientRefused`, naming the first of them, if the operator does not want mail to go to some."""
        _refuse([m for m in mailboxes if _matches(m, self.denied)], Setting.DENIED_RECIPIENTS)
        if self.allowed is not None:
            _refuse([m for m in mailboxes if not _matches(m, self.allowed)], Setting.ALLOWED_RECIPIENTS)

    def refuses(self, mailbox: Mailbox) -> bool:
        """Whether the operator does not want mail to go to this mailbox."""
        return _matches(mailbox, self.denied) or (self.allowed is not None and not _matches(mailbox, self.allowed))

    def check_sender(self, sender: Mailbox) -> None:
        """Raise `SenderRefused` if no email may leave in this name any more."""
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
        """Raise `RecipientRefused` when what recipients do with the email would reach somebody it may not go to.

        With `allowed` or `denied` recipients, answers (`reply_to`), receipts and unsubscribing obey them too; `sender`
        and the account may always be answered. A web address must be in an allowed or in the sender's domain.
        """
        if self.allowed is None and not self.denied:
            return
        named = [*reply_to, *named_addresses(headers)]
        own = {_fold(sender.address), _fold(self.account or "")}
        self.check_recipients([mailbox for mailbox in named if _fold(mailbox.address) not in own])
        if self.allowed is None:
            return
        domains = [pattern[1:] for pattern in self.allowed if pattern.startswith("@")]
        domains.append(_fold(sender.address).rpartition("@")[2])
        for host in unsubscribe_hosts(headers):
            if not any(host == domain or host.endswith(f".{domain}") for domain in domains):
                raise RecipientRefused(
                    f"The operator does not allow List-Unsubscribe to lead to {brief(host)}.",
                    "Give an address or page of an allowed domain, or ask the operator, who decides this with "
                    f"{Setting.ALLOWED_RECIPIENTS}.",
                )

    def choose_sender(self, asked: Mailbox | None) -> Mailbox:
        """Return whom the email is from: `sender`, or `asked` when it has the address of `sender` or of `account`.

        The display name is the caller's choice; without one, the configured name stays. Raises `InvalidArgument` for
        another address, and `NotConfigured` when nothing is configured and nothing asked.
        """
        if self.sender is None:
            if asked is None:
                raise NotConfigured("No sender is configured.", f"The operator sets {Setting.SENDER}; or give `from`.")
            return asked
        if asked is None:
            return self.sender
        if _fold(asked.address) == _fold(self.sender.address):
            return asked if asked.name else self.sender
        if self.account is not None and _fold(asked.address) == _fold(self.account):
            return asked
        raise InvalidArgument(
            f"from: this server sends as {self.sender.address} only, not as {brief(asked.address)}.",
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
