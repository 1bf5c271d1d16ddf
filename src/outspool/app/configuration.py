"""Interprets the settings: SMTP account, sender, acceptance rules, limits and retries."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from functools import cache

from outspool.adapters.smtp.account import is_helo_name
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
from outspool.domain.setting import Setting
from outspool.domain.text import OWN_HEADER, WRITTEN_BY_US
from outspool.errors import InvalidAddress, MisconfiguredError, brief
from outspool.services.acceptance.preparation import AcceptanceRules

_TLS_PORT = 465
"""The port for implicit TLS (RFC 8314 §3.3), so that it need not be configured twice."""

_GMAIL_QUOTA, _WORKSPACE_QUOTA = 500, 2000
"""Recipients in any 24 hours: of accounts in Gmail's own domains, and of Workspace accounts."""

_GMAIL_HOSTS = frozenset({GMAIL_HOST, "smtp.googlemail.com"})

_GMAIL_DOMAINS = frozenset({"gmail.com", "googlemail.com"})

_MOST_RECIPIENTS = 100
"""Recipients of one email: Gmail's limit, and what every server must accept (RFC 5321 §4.5.3.1.8)."""

_SANDBOX_SENDER = Mailbox(address="sandbox@outspool.test", name="outspool sandbox")
_SANDBOX_DELAYS = (timedelta(seconds=2), timedelta(seconds=5), timedelta(seconds=10))
"""Short, so that one can watch a retry."""


def read_smtp_account(settings: Settings) -> SmtpAccount | None:
    """Return the configured SMTP account; None if there is none.

    Raises `MisconfiguredError` for half a login, one that would cross a network unencrypted, or a file of certificates
    that does not exist.
    """
    if settings.smtp_ca_file is not None and not settings.smtp_ca_file.expanduser().is_file():
        raise MisconfiguredError("SMTP_CA_FILE names no file.", "Name a file with certificates in PEM format.")
    if settings.smtp_host:
        return _other_account(settings, settings.smtp_host)
    if settings.gmail_email and settings.gmail_app_password:
        # Networks that block 587 may let 465 through; nothing else that is set for another server concerns Gmail.
        port = _TLS_PORT if settings.smtp_port == _TLS_PORT else None
        gmail = settings.model_copy(update={"smtp_port": port, "smtp_security": None})
        return _build_account(gmail, GMAIL_HOST, login=_read_gmail_login(settings))
    return None


def _other_account(settings: Settings, host: str) -> SmtpAccount:
    if host.lower() in _GMAIL_HOSTS and settings.smtp_username is None and settings.smtp_password is None:
        return _build_account(settings, host, login=_read_gmail_login(settings))
    password = settings.smtp_password.get_secret_value() if settings.smtp_password else None
    return _build_account(settings, host, login=(settings.smtp_username, password))


def _read_gmail_login(settings: Settings) -> tuple[str | None, str | None]:
    password = settings.gmail_app_password
    if settings.gmail_email is None or password is None:
        return None, None
    return settings.gmail_email, password.get_secret_value()


def _build_account(settings: Settings, host: str, *, login: tuple[str | None, str | None]) -> SmtpAccount:
    port = settings.smtp_port or (_TLS_PORT if settings.smtp_security == "tls" else 587)
    security = settings.smtp_security or ("tls" if port == _TLS_PORT else "starttls")
    username, password = login
    is_gmail_login = password is not None and settings.smtp_password is None
    try:
        return SmtpAccount(
            host=host,
            port=port,
            security=Security(security),
            username=username,
            password=password,
            helo_name=_read_helo_name(settings, username or ""),
            password_setting=Setting.GMAIL_PASSWORD if is_gmail_login else Setting.MAIL_PASSWORD,
            authorities=settings.ssl_cert_file and settings.ssl_cert_file.expanduser(),
            extra_authorities=settings.smtp_ca_file and settings.smtp_ca_file.expanduser(),
        )
    except ValueError as error:
        raise MisconfiguredError(str(error), _find_account_fix(settings, login)) from None


def _find_account_fix(settings: Settings, login: tuple[str | None, str | None]) -> str:
    """Return which settings to look at when the account cannot be as it is."""
    if login[0] is None and login[1] is not None:
        return "Set SMTP_USERNAME too, or unset SMTP_PASSWORD."
    if login[1] is None and login[0] is not None:
        return "Set SMTP_PASSWORD too, or unset SMTP_USERNAME."
    if settings.smtp_helo_name and not is_helo_name(settings.smtp_helo_name):
        return "Set SMTP_HELO_NAME to a name like mail.example.com, or unset it."
    if settings.smtp_security == "none":
        return "Set SMTP_SECURITY to starttls or tls."
    return "Check SMTP_HOST and SMTP_PORT."


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
    missing = f"{Setting.GMAIL_ADDRESS} and {Setting.GMAIL_PASSWORD}"
    if settings.gmail_email:
        missing = Setting.GMAIL_PASSWORD.value
    elif settings.gmail_app_password:
        missing = Setting.GMAIL_ADDRESS.value
    return Problem(
        code="not_configured",
        message="No SMTP account is set, so nothing can be sent.",
        hint=f"The operator sets {missing}, or {Setting.MAIL_SERVER} and what it needs, and restarts outspool. "
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


@cache
def hash_credential(account: SmtpAccount | None) -> str:
    """Return a salted scrypt hash of the login, to tell whether it changed since it was refused; empty without one."""
    if account is None or account.password is None:
        return ""
    salt = f"{account.username or ''}@{account}".encode()
    return hashlib.scrypt(account.password.encode(), salt=salt, n=2**14, r=8, p=1, dklen=16).hex()


def name_account(identity: Identity, account: SmtpAccount | None) -> str:
    """Return the key under which the account's state is shared.

    A changed password has a state of its own, so that nobody is told, or held up by, what was said of another.
    Processes that still have the old password go on sharing theirs.
    """
    return f"{identity.account} {hash_credential(account)}".rstrip()
