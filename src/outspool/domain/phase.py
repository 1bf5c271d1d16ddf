"""The phases of an SMTP session (RFC 5321)."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """The command whose reply, or missing reply, is being interpreted."""

    CONNECT = "connect"
    TLS = "starttls"
    LOGIN = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    MESSAGE = "message"
    """After the first byte of the message: a lost connection leaves its delivery in doubt (RFC 1047)."""
