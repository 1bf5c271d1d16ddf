"""Describes failures of the SMTP account: a sentence that names the server, and the fix."""

from __future__ import annotations

import base64
import errno
import re
import socket
import ssl
from typing import TYPE_CHECKING

from outspool.adapters.smtp.account import Security
from outspool.domain.cause import FIXES, Cause, find_cause
from outspool.domain.delivery import Phase, classify
from outspool.domain.email import quote_server
from outspool.domain.setting import Setting
from outspool.errors import AccountTrouble, TroubleKind, brief

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from outspool.adapters.smtp.account import SmtpAccount
    from outspool.domain.email import Reply

_GMAIL_FIX = (
    "Gmail takes an app password only: turn on 2-Step Verification, create one at"
    " https://myaccount.google.com/apppasswords and set it as"
)
_SET_STARTTLS = f"set {Setting.MAIL_SECURITY.to('starttls')}"
_SET_TLS = f"set {Setting.MAIL_SECURITY.to('tls')}"
_SET_NONE = f"set {Setting.MAIL_SECURITY.to('none')}"
_TLS_AT_ONCE = f"If the port speaks TLS from the first byte (465 does), {_SET_TLS}."
_OTHER_SECURITY = {
    Security.TLS: f"That port seems not to speak TLS from the first byte (587 does not): {_SET_STARTTLS}.",
    Security.STARTTLS: _TLS_AT_ONCE,
    Security.NONE: _TLS_AT_ONCE,
}
_CHECK_PLACE = f"Check {Setting.MAIL_SERVER} and {Setting.MAIL_PORT}"
_LOGIN = f"{Setting.MAIL_USER} and {Setting.MAIL_PASSWORD}"
_OTHER_GMAIL_PORT = f"Gmail also listens on port 465: set {Setting.MAIL_PORT.to('465')}, or try another network."
_DOING = {
    Phase.CONNECT: "greeting",
    Phase.TLS: "starting TLS",
    Phase.LOGIN: "logging in",
    Phase.MAIL: "naming the sender",
    Phase.RCPT: "naming a recipient",
    Phase.DATA: "asking to send the message",
    Phase.MESSAGE: "sending the message",
}
_CHECK_NAME = f"Check {Setting.MAIL_SERVER} for a typo, and the network connection."
_OTHER_PORT = f"try 587 or 465 as {Setting.MAIL_PORT}, and check {Setting.MAIL_SERVER}"
_TLS_PORT = 465
_NAME_MISMATCH = {62, 64}
_EXPIRED = 10
"""OpenSSL's X509_V_ERR codes."""
_APP_PASSWORD_ONLY = 534


class Silence(Exception):
    """The connection was lost, timed out or sent garbage where a reply was due. It is closed."""


def explain_refusal(account: SmtpAccount, phase: Phase, reply: Reply) -> AccountTrouble:
    """Return the trouble that a negative `reply` in `phase` means."""
    meaning = classify(phase, reply)
    kind = meaning if isinstance(meaning, TroubleKind) else TroubleKind.NETWORK
    message, hint = _describe(kind, account, phase, reply)
    return AccountTrouble(kind, message, hint, phase=phase, reply_code=reply.code)


def explain_refused_name(account: SmtpAccount, phase: Phase, reply: Reply) -> AccountTrouble:
    """Return the trouble of a server that does not accept the name we give with EHLO (RFC 5321 §4.1.1.1)."""
    quote = quote_server(_scrub(str(reply), account))
    return AccountTrouble(
        TroubleKind.NETWORK,
        f'{account} does not accept "{account.helo_name}" as the name of this machine; {quote}.',
        f"Set {Setting.HELO_NAME} to a name that the server accepts: this machine's own in the DNS, with its domain.",
        phase=phase,
        reply_code=reply.code,
    )


def explain_refused_sender(account: SmtpAccount, phase: Phase, reply: Reply, sender: str) -> AccountTrouble:
    """Return the trouble of a server that takes the login, and no mail from `sender`."""
    meaning = classify(phase, reply)
    kind = meaning if isinstance(meaning, TroubleKind) else TroubleKind.LOGIN
    quote = quote_server(_scrub(str(reply), account))
    message = f"{account} takes no mail from {brief(sender)}; {quote}."
    return AccountTrouble(kind, message, FIXES[find_cause(phase, reply)], phase=phase, reply_code=reply.code)


def _describe(kind: TroubleKind, account: SmtpAccount, phase: Phase, reply: Reply) -> tuple[str, str]:
    quote = quote_server(_scrub(str(reply), account))
    match kind:
        case TroubleKind.LOGIN:
            problem = "wants a login" if account.username is None else "refused the login"
            return f"{account} {problem}; {quote}.", _login_hint(account, reply)
        case TroubleKind.THROTTLED:
            return _describe_throttling(account, find_cause(phase, reply), quote)
        case TroubleKind.TLS:
            return f"{account} refused to start TLS; {quote}.", _OTHER_SECURITY[account.security]
        case TroubleKind.NETWORK:
            return f"{account} refused to serve when {_DOING[phase]}; {quote}.", "Sending resumes by itself."


def _describe_throttling(account: SmtpAccount, cause: Cause, quote: str) -> tuple[str, str]:
    match cause:
        case Cause.MACHINE:
            return f"{account} refuses this machine; {quote}.", FIXES[cause]
        case Cause.BLOCKED:
            return f"{account} lets this account send nothing for now; {quote}.", FIXES[cause]
        case _:
            return f"{account} limits this account for now; {quote}.", FIXES[Cause.LIMIT]


def explain_unreachable(account: SmtpAccount, phase: Phase, failure: BaseException) -> AccountTrouble:
    """Return the trouble behind an exception while connecting, starting TLS or logging in."""
    cause = failure.__cause__ if isinstance(failure.__cause__, Exception) else failure
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _explain_certificate(account, cause)
    if isinstance(cause, ssl.SSLError):
        reason = (cause.reason or "unknown").replace("_", " ").lower()
        message = f"TLS with {account} failed: {reason}."
        return AccountTrouble(TroubleKind.TLS, message, _OTHER_SECURITY[account.security])
    if isinstance(cause, socket.gaierror | UnicodeError):
        message = f"The server name {brief(account.host)} cannot be looked up."
        hint = "Check the network connection." if account.is_gmail else _CHECK_NAME
        return AccountTrouble(TroubleKind.NETWORK, message, hint)
    if _errno(cause) == errno.ECONNREFUSED:
        message = f"{account} refused the connection: nothing listens there."
        hint = _blocked_gmail_hint(account) or f"{_CHECK_PLACE}, and that the server is up."
        return AccountTrouble(TroubleKind.NETWORK, message, hint)
    if _errno(cause) in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN):
        message = f"{account} cannot be reached from here: no route."
        return AccountTrouble(TroubleKind.NETWORK, message, "Check the network connection.")
    return _explain_silence(account, phase, cause)


def explain_missing_starttls(account: SmtpAccount) -> AccountTrouble:
    """Return the trouble of a server that offers no STARTTLS, or of a middlebox that hides it."""
    if account.is_loopback:
        hint = f"A relay on this machine needs no encryption: {_SET_NONE}. {_TLS_AT_ONCE}"
    elif account.username is None:
        hint = f"If it is a relay on this machine or in your own network, {_SET_NONE}. {_TLS_AT_ONCE}"
    else:
        hint = f"{_TLS_AT_ONCE} Else a proxy or virus scanner on the way may hide it."
    return AccountTrouble(TroubleKind.TLS, f"{account} does not offer STARTTLS.", hint)


def explain_missing_login(account: SmtpAccount, offered: Collection[str]) -> AccountTrouble:
    """Return the trouble of a server that offers no supported login mechanism."""
    if offered:
        message = f"{account} offers no login by password, only {brief(' '.join(sorted(offered)).upper())}."
        return AccountTrouble(TroubleKind.LOGIN, message, "Ask its administrator to allow AUTH PLAIN.")
    hint = (
        f"Check {Setting.MAIL_PORT} (587 or 465 for submission); if the server wants no login, leave"
        f" {Setting.MAIL_USER} and {Setting.MAIL_PASSWORD} unset."
    )
    return AccountTrouble(TroubleKind.LOGIN, f"{account} offers no login (AUTH).", hint)


def explain_unusable_authorities(account: SmtpAccount, path: Path) -> AccountTrouble:
    """Return the trouble of a file of certificates that cannot be read, or that has none."""
    message = f"{brief(path)} cannot be used to check the certificate of {account}."
    hint = f"Set {Setting.MAIL_AUTHORITIES} to a file with certificates in PEM format."
    return AccountTrouble(TroubleKind.TLS, message, hint)


def _login_hint(account: SmtpAccount, reply: Reply) -> str:
    if account.is_gmail:
        return f"{_GMAIL_FIX} {account.password_setting}."
    if account.security is Security.NONE:
        return f"The server may want encryption first: {_SET_STARTTLS}; else check {_LOGIN}."
    if account.username is None:
        return f"Set {_LOGIN}."
    if reply.enhanced_code == "5.7.139":
        return "Password logins are switched off for this mailbox: its administrator can allow Authenticated SMTP."
    if reply.code == _APP_PASSWORD_ONLY or reply.enhanced_code == "5.7.9":
        return (
            "The server wants an app password: create one in the account's security settings, and set it as"
            f" {Setting.MAIL_PASSWORD}."
        )
    return f"Check {_LOGIN}; an account with two-step verification needs an app password."


def _blocked_gmail_hint(account: SmtpAccount) -> str:
    """Return the other way to Gmail for a network that blocks port 587; empty for other servers."""
    return _OTHER_GMAIL_PORT if account.is_gmail and account.port != _TLS_PORT else ""


def _explain_certificate(account: SmtpAccount, cause: ssl.SSLCertVerificationError) -> AccountTrouble:
    message = f"The certificate of {account} is not trusted: {cause.verify_message.rstrip('.')}."
    if cause.verify_code in _NAME_MISMATCH:
        hint = f"Set {Setting.MAIL_SERVER} to the name that the certificate was issued for."
    elif cause.verify_code == _EXPIRED:
        hint = "Check this machine's clock; else the server's administrator must renew it."
    else:
        hint = f"If you trust it, set {Setting.MAIL_AUTHORITIES} to a file with its certificate, or its authority's."
    return AccountTrouble(TroubleKind.TLS, message, hint)


def _explain_silence(account: SmtpAccount, phase: Phase, cause: BaseException) -> AccountTrouble:
    from aiosmtplib import SMTPReadTimeoutError, SMTPResponseException  # already loaded by the connection

    kind = TroubleKind.TLS if phase is Phase.TLS else TroubleKind.NETWORK
    if isinstance(cause, SMTPResponseException):
        return AccountTrouble(kind, f"What answers at {account} does not speak SMTP.", f"{_CHECK_PLACE}.")
    if phase is Phase.CONNECT and isinstance(cause, SMTPReadTimeoutError):
        # The TCP connection exists but the server is silent: it probably expects TLS from the first byte.
        message = f"{account} took the connection but said nothing."
        return AccountTrouble(kind, message, _OTHER_SECURITY[account.security])
    if isinstance(cause, TimeoutError) and phase is Phase.CONNECT:
        hint = _blocked_gmail_hint(account) or f"A firewall may block the port: {_OTHER_PORT}."
        return AccountTrouble(kind, f"Connecting to {account} timed out.", hint)
    if isinstance(cause, TimeoutError):
        return AccountTrouble(kind, f"{account} stopped answering when {_DOING[phase]}.", "Sending resumes by itself.")
    hint = _OTHER_SECURITY[account.security] if phase is Phase.CONNECT else "Sending resumes by itself."
    return AccountTrouble(kind, f"{account} dropped the connection when {_DOING[phase]}.", hint)


def _errno(cause: BaseException) -> int | None:
    """Return the errno; for a name with several addresses asyncio has it in the text only."""
    if isinstance(cause, OSError) and cause.errno is not None:
        return cause.errno
    found = re.search(r"\[Errno (\d+)\]", str(cause))
    return int(found[1]) if found else None


def _scrub(text: str, account: SmtpAccount) -> str:
    """Remove the password, plain or base64, from a server's words: some servers echo the failed command."""
    if account.password is None or account.username is None:
        return text
    password, both = account.password.encode(), f"\0{account.username}\0{account.password}".encode()
    for secret in (account.password, base64.b64encode(password).decode(), base64.b64encode(both).decode()):
        text = text.replace(secret, "***") if secret else text
    return text
