"""Describes failures of the SMTP account: a sentence that names the server, and the fix."""

from __future__ import annotations

import base64
import errno
import re
import socket
import ssl
from typing import TYPE_CHECKING

from outspool.adapters.smtp.account import Security
from outspool.domain.delivery import Phase, classify
from outspool.domain.email import quote_server
from outspool.errors import AccountTrouble, TroubleKind, brief

if TYPE_CHECKING:
    from collections.abc import Collection

    from outspool.adapters.smtp.account import SmtpAccount
    from outspool.domain.email import Reply

_GMAIL_FIX = (
    "Gmail takes an app password only: turn on 2-Step Verification, create one at"
    " https://myaccount.google.com/apppasswords and set it as GMAIL_APP_PASSWORD."
)
_OTHER_SECURITY = {
    Security.TLS: "That port seems not to speak TLS from the first byte (587 does not): try SMTP_SECURITY=starttls.",
    Security.STARTTLS: "If the port speaks TLS from the first byte (465 does), set SMTP_SECURITY=tls.",
    Security.NONE: "If the port speaks TLS from the first byte (465 does), set SMTP_SECURITY=tls.",
}
_DOING = {
    Phase.CONNECT: "greeting",
    Phase.TLS: "starting TLS",
    Phase.LOGIN: "logging in",
    Phase.MAIL: "naming the sender",
    Phase.RCPT: "naming a recipient",
    Phase.DATA: "asking to send the message",
    Phase.MESSAGE: "sending the message",
}
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
        "Set SMTP_HELO_NAME to a name that the server accepts: this machine's own in the DNS, with its domain.",
        phase=phase,
        reply_code=reply.code,
    )


def _describe(kind: TroubleKind, account: SmtpAccount, phase: Phase, reply: Reply) -> tuple[str, str]:
    quote = quote_server(_scrub(str(reply), account))
    match kind:
        case TroubleKind.LOGIN:
            return f"{account} refused the login; {quote}.", _login_hint(account, reply)
        case TroubleKind.THROTTLED:
            return f"{account} limits this account for now; {quote}.", "Sending resumes by itself."
        case TroubleKind.TLS:
            return f"{account} refused to start TLS; {quote}.", _OTHER_SECURITY[account.security]
        case TroubleKind.NETWORK:
            return f"{account} refused to serve when {_DOING[phase]}; {quote}.", "Sending resumes by itself."


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
        return AccountTrouble(TroubleKind.NETWORK, message, "Check SMTP_HOST for a typo, and the network connection.")
    if _errno(cause) == errno.ECONNREFUSED:
        message = f"{account} refused the connection: nothing listens there."
        return AccountTrouble(TroubleKind.NETWORK, message, "Check SMTP_HOST and SMTP_PORT, and that the server is up.")
    if _errno(cause) in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN):
        message = f"{account} cannot be reached from here: no route."
        return AccountTrouble(TroubleKind.NETWORK, message, "Check the network connection.")
    return _explain_silence(account, phase, cause)


def explain_missing_starttls(account: SmtpAccount) -> AccountTrouble:
    """Return the trouble of a server that offers no STARTTLS, or of a middlebox that hides it."""
    hint = f"{_OTHER_SECURITY[account.security]} Else a proxy or virus scanner on the way may hide it."
    return AccountTrouble(TroubleKind.TLS, f"{account} does not offer STARTTLS.", hint)


def explain_missing_login(account: SmtpAccount, offered: Collection[str]) -> AccountTrouble:
    """Return the trouble of a server that offers no supported login mechanism."""
    if offered:
        message = f"{account} offers no login by password, only {brief(' '.join(sorted(offered)).upper())}."
        return AccountTrouble(TroubleKind.LOGIN, message, "Ask its administrator to allow AUTH PLAIN.")
    hint = "Check SMTP_PORT (587 or 465 for submission); if the server wants no login, leave SMTP_USERNAME unset."
    return AccountTrouble(TroubleKind.LOGIN, f"{account} offers no login (AUTH).", hint)


def _login_hint(account: SmtpAccount, reply: Reply) -> str:
    if account.is_gmail:
        return _GMAIL_FIX
    if account.security is Security.NONE:
        return "The server may want SMTP_SECURITY=starttls first; else check SMTP_USERNAME and SMTP_PASSWORD."
    if account.username is None:
        return "The server wants a login: set SMTP_USERNAME and SMTP_PASSWORD."
    if reply.enhanced_code == "5.7.139":
        return "Password logins are switched off for this mailbox: its administrator can allow Authenticated SMTP."
    if reply.code == _APP_PASSWORD_ONLY or reply.enhanced_code == "5.7.9":
        return "The server wants an app password: create one in the account's security settings, set SMTP_PASSWORD."
    return "Check SMTP_USERNAME and SMTP_PASSWORD; an account with two-step verification needs an app password."


def _explain_certificate(account: SmtpAccount, cause: ssl.SSLCertVerificationError) -> AccountTrouble:
    message = f"The certificate of {account} is not trusted: {cause.verify_message.rstrip('.')}."
    if cause.verify_code in _NAME_MISMATCH:
        hint = "Set SMTP_HOST to the name that the certificate was issued for."
    elif cause.verify_code == _EXPIRED:
        hint = "Check this machine's clock; else the server's administrator must renew it."
    else:
        hint = "If an authority of your own issued it, let SSL_CERT_FILE name a file with that authority's certificate."
    return AccountTrouble(TroubleKind.TLS, message, hint)


def _explain_silence(account: SmtpAccount, phase: Phase, cause: BaseException) -> AccountTrouble:
    from aiosmtplib import SMTPReadTimeoutError, SMTPResponseException  # already loaded by the connection

    kind = TroubleKind.TLS if phase is Phase.TLS else TroubleKind.NETWORK
    if isinstance(cause, SMTPResponseException):
        return AccountTrouble(kind, f"What answers at {account} does not speak SMTP.", "Check SMTP_HOST and SMTP_PORT.")
    if phase is Phase.CONNECT and isinstance(cause, SMTPReadTimeoutError):
        # The TCP connection exists but the server is silent: it probably expects TLS from the first byte.
        message = f"{account} took the connection but said nothing."
        return AccountTrouble(kind, message, _OTHER_SECURITY[account.security])
    if isinstance(cause, TimeoutError) and phase is Phase.CONNECT:
        hint = "A firewall may block the port: try 587 or 465, and check SMTP_HOST."
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
