"""The authorities whose certificates are trusted: the system's, and those that the operator names."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from outspool.adapters.smtp.errors import explain_unusable_authorities

if TYPE_CHECKING:
    from pathlib import Path

    from outspool.adapters.smtp.account import SmtpAccount


def trust_authorities(account: SmtpAccount) -> ssl.SSLContext:
    """Return a context that verifies certificates and names. Reads files.

    Raises `AccountTrouble` if a file of certificates cannot be read.
    """
    context = ssl.create_default_context()
    if account.authorities is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _load(context, account, account.authorities)
    if account.extra_authorities is not None:
        _load(context, account, account.extra_authorities)
        # The operator trusts exactly what the file holds: also a server's own certificate, or one that lacks what
        # newer rules ask of public authorities.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _load(context: ssl.SSLContext, account: SmtpAccount, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except OSError:  # also ssl.SSLError, for a file without certificates
        raise explain_unusable_authorities(account, path) from None
