"""Interprets the settings: SMTP account, sender, acceptance rules, limits and retries."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from outspool.adapters.smtp.transport import Security, SmtpAccount
from outspool.app.settings import GMAIL_HOST, Settings
from outspool.domain.address import parse_mailbox
from outspool.domain.cap import DAY, HOUR, Cap
from outspool.domain.email import Mailbox, Problem
from outspool.domain.identity import SANDBOX_IDENTITY, Identity
from outspool.domain.policy import Policy
from outspool.domain.principal import SANDBOX_USER, Principal, Role
from outspool.domain.provider_headers import ALLOWABLE
from outspool.domain.retry import RetryPolicy
from outspool.domain.text import OWN_HEADER, WRITTEN_BY_US
from outspool.errors import InvalidAddress, MisconfiguredError, brief
from outspool.services.acceptance.preparation import AcceptanceRules

_TLS_PORT = 465
"""The port for implicit TLS (RFC 8314 §3.3), so that it need not be configured twice."""

_GMAIL_QUOTA, _WORKSPACE_QUOTA = 500, 2000
"""Recipients in any 24 hours: of accounts in Gmail's own domains, and of Workspace accounts."""

_GMAIL_DOMAINS = frozenset({"gmail.com", "googlemail.com"})

_MOST_RECIPIENTS = 100
"""Recipients of one email: Gmail's limit, and what every server must accept (RFC 5321 §4.5.3.1.8)."""

_SANDBOX_SENDER = Mailbox(address="sandbox@outspool.test", name="outspool sandbox")
_SANDBOX_DELAYS = (timedelta(seconds=2), timedelta(seconds=5), timedelta(seconds=10))
"""Short, so that one can watch a retry."""


def read_smtp_account(settings: Settings) -> SmtpAccount | None:
    """Return the configured SMTP account; None if there is none.

    Raises `MisconfiguredError` for half a login, or one that would cross a network unencrypted.
    """
    if settings.smtp_host:
        return _other_account(settings, settings.smtp_host)
    if settings.gmail_email and settings.gmail_app_password:
        return SmtpAccount(
            host=GMAIL_HOST,
            port=587,
            security=Security.STARTTLS,
            username=settings.gmail_email,
            password=settings.gmail_app_password.get_secret_value(),
            helo_name=_read_helo_name(settings, settings.gmail_email),
        )
    return None


def _other_account(settings: Settings, host: str) -> SmtpAccount:
    port = settings.smtp_port or (_TLS_PORT if settings.smtp_security == "tls" else 587)
    security = settings.smtp_security or ("tls" if port == _TLS_PORT else "starttls")
    password = settings.smtp_password
    try:
        return SmtpAccount(
            host=host,
            port=port,
            security=Security(security),
            username=settings.smtp_username,
            password=password.get_secret_value() if password else None,
            helo_name=_read_helo_name(settings, settings.smtp_username or ""),
        )
    except ValueError as error:
        raise MisconfiguredError(str(error), "Look at SMTP_HOST and its kin.") from None


def _read_helo_name(settings: Settings, username: str) -> str:
    """Return what to call ourselves with EHLO: as set, else the sender's domain, else an address.

    A machine's bare name is no domain, and Postfix refuses it by default when the first recipient is named.
    """
    if settings.smtp_helo_name:
        return settings.smtp_helo_name
    address = (settings.email_from or username).rpartition("<")[2].rstrip("> ")
    domain = address.rpartition("@")[2] if "@" in address else ""
    return domain if domain.isascii() and "." in domain else "[127.0.0.1]"


def find_obstacle(settings: Settings, account: SmtpAccount | None) -> Problem | None:
    """Return why nothing can be sent; None with an account or in the sandbox."""
    if account is not None or settings.sandbox:
        return None
    missing = "GMAIL_APP_PASSWORD" if settings.gmail_email else "GMAIL_EMAIL and GMAIL_APP_PASSWORD"
    if settings.gmail_app_password and not settings.gmail_email:
        missing = "GMAIL_EMAIL"
    return Problem(
        code="not_configured",
        message="No SMTP account is set, so nothing can be sent.",
        hint=f"The operator sets {missing}, or SMTP_HOST and what it needs, and restarts outspool. "
        "Use --sandbox to try it without an account.",
    )


def read_sender(settings: Settings, account: SmtpAccount | None) -> Mailbox | None:
    """Return the From address: ``EMAIL_FROM``, else the account's name if that is an address."""
    username = account.username if account else None
    address = settings.email_from or (username if username and "@" in username else None)
    if address is None:
        return _SANDBOX_SENDER if settings.sandbox else None
    try:
        return parse_mailbox(address, "EMAIL_FROM", internal=None)
    except InvalidAddress as error:
        raise MisconfiguredError(error.message, error.hint) from None


def read_acceptance_rules(settings: Settings, account: SmtpAccount | None) -> AcceptanceRules:
    """Return the rules for accepting emails."""
    username = account.username if account else None
    quota = read_daily_quota(settings, account)
    policy = Policy(
        allowed=settings.allowed_recipients,
        denied=settings.denied_recipients,
        allowed_headers=tuple(map(_check_allowable, settings.allowed_headers)),
        max_recipients=min(_MOST_RECIPIENTS, quota.most if quota else _MOST_RECIPIENTS),
        max_message_bytes=int(settings.max_message_mb * 1024 * 1024),
        sender=read_sender(settings, account),
        account=username if username and "@" in username else None,
    )
    return AcceptanceRules(
        policy=policy,
        expire_after=timedelta(hours=settings.expire_after_hours),
        identity=read_identity(settings, account).address,
        obstacle=find_obstacle(settings, account),
    )


def _check_allowable(name: str) -> str:
    """Return the name of a header that may be allowed. Raises `MisconfiguredError`."""
    if name.lower() in ALLOWABLE or (name.lower() not in WRITTEN_BY_US and OWN_HEADER.fullmatch(name)):
        return name
    raise MisconfiguredError(
        f"EMAIL_ALLOWED_HEADERS: {brief(name)} cannot be allowed.", "Name whole X-… headers, like X-PM-Metadata-Order."
    )


def read_rate(settings: Settings) -> Cap:
    """Return the rate limit for each sender."""
    return Cap(most=settings.rate_limit_per_hour, window=HOUR)


def read_daily_quota(settings: Settings, account: SmtpAccount | None) -> Cap | None:
    """Return the account's daily quota of recipients: as set, or Gmail's known limit."""
    quota = settings.daily_quota
    if quota is None and account is not None and account.is_gmail:
        domain = (account.username or "").rpartition("@")[2].lower()
        quota = _GMAIL_QUOTA if domain in _GMAIL_DOMAINS else _WORKSPACE_QUOTA
    return None if quota is None else Cap(most=quota, window=DAY)


def read_retry_policy(settings: Settings) -> RetryPolicy:
    """Return the number and spacing of retries."""
    if settings.sandbox:
        return RetryPolicy(max_retries=settings.max_retries, delays=_SANDBOX_DELAYS)
    return RetryPolicy(max_retries=settings.max_retries)


def read_identity(settings: Settings, account: SmtpAccount | None) -> Identity:
    """Return the identity whose emails this process sends.

    People with different accounts may share a database, and nobody's mail must leave through another's account. The
    sender's address tells them apart, so that changing the server strands no email. The sandbox never claims real mail.
    """
    if settings.sandbox:
        return Identity(address=SANDBOX_IDENTITY, account="sandbox")
    mailbox = read_sender(settings, account)
    login = f"{account.username or ''}@{account.host}:{account.port}" if account else ""
    return Identity(address=mailbox.address.lower() if mailbox else "", account=login)


def build_principal(
    settings: Settings, identity: Identity, *, role: Role, agent: str = "", client: str = ""
) -> Principal:
    """Return the principal of this process's calls; `agent` is the program, `client` its name and version."""
    user = SANDBOX_USER if settings.sandbox else settings.user
    return Principal(user=user, identities=frozenset({identity.address}), agent=agent, client=client, role=role)


def hash_credential(account: SmtpAccount | None) -> str:
    """Return a salted scrypt hash of the login, to tell whether it changed since it was refused."""
    if account is None or account.password is None:
        return ""
    salt = f"{account.username or ''}@{account.host}:{account.port}".encode()
    return hashlib.scrypt(account.password.encode(), salt=salt, n=2**14, r=8, p=1, dklen=16).hex()
