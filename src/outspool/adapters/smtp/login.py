"""The login (RFC 4954), by a mechanism that the server knows.

Importing this module loads aiosmtplib, so it is imported with the first connection.
"""

from __future__ import annotations

import base64
from functools import partial
from typing import TYPE_CHECKING

import aiosmtplib

from outspool.adapters.smtp.errors import explain_missing_login

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from outspool.adapters.smtp.account import SmtpAccount

_UNKNOWN_MECHANISM = (500, 501, 502, 504, 538)
"""Replies that mean the mechanism, or the form it came in; only 535 and its kin mean the password."""
_BAD_FORM = 501
_CONTINUE, _LOGGED_IN = 334, 235


async def log_in(smtp: aiosmtplib.SMTP, account: SmtpAccount, username: str, password: str) -> None:
    """Log in by one mechanism; by a second only if the server does not know the first.

    aiosmtplib's `login` tries all, so that a wrong password would count three times towards a lock-out.
    """
    mechanisms: dict[str, Callable[[str, str], Awaitable[object]]] = {
        "plain": partial(_log_in_plain, smtp),
        "login": partial(_log_in_by_prompts, smtp),
        "cram-md5": smtp.auth_crammd5,
    }
    offered = [name for name in mechanisms if name in smtp.server_auth_methods]
    if not offered:
        raise explain_missing_login(account, smtp.server_auth_methods)
    for name in offered:
        try:
            await mechanisms[name](username, password)
        except aiosmtplib.SMTPAuthenticationError as failure:
            if failure.code not in _UNKNOWN_MECHANISM or name == offered[-1]:
                raise
        else:
            return


async def _log_in_plain(smtp: aiosmtplib.SMTP, username: str, password: str) -> None:
    """Log in by AUTH PLAIN (RFC 4616), in a line of its own where the server takes none with the command."""
    answer = base64.b64encode(f"\0{username}\0{password}".encode())
    code, text = await smtp.execute_command(b"AUTH", b"PLAIN", answer)
    if code == _BAD_FORM:
        code, text = await smtp.execute_command(b"AUTH", b"PLAIN")
    if code == _CONTINUE:
        code, text = await smtp.execute_command(answer)
    if code != _LOGGED_IN:
        raise aiosmtplib.SMTPAuthenticationError(code, text)


async def _log_in_by_prompts(smtp: aiosmtplib.SMTP, username: str, password: str) -> None:
    """Log in by AUTH LOGIN, one answer for each prompt: not every server takes the username with the command."""
    code, text = await smtp.execute_command(b"AUTH", b"LOGIN")
    for answer in (username, password):
        if code != _CONTINUE:
            raise aiosmtplib.SMTPAuthenticationError(code, text)
        code, text = await smtp.execute_command(base64.b64encode(answer.encode()))
    if code != _LOGGED_IN:
        raise aiosmtplib.SMTPAuthenticationError(code, text)
