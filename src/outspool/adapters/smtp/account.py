"""The SMTP account and its timeouts."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from outspool.domain.setting import Setting

_LAST_PORT = 65535
_HELO_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9-]{1,63})*\.?|\[[0-9A-Za-z.:]{2,60}\]")


class Security(StrEnum):
    """The encryption of a connection: STARTTLS, TLS from the first byte, or not at all."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


def is_helo_name(name: str) -> bool:
    """Tell whether `name` may follow EHLO (RFC 5321 §4.1.1.1)."""
    return _HELO_NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpAccount:
    """A submission server (RFC 6409) and its login; no login if username and password are None.

    `helo_name` is what we call ourselves: a domain, or an address in brackets (RFC 5321 §4.1.4). `password_setting` is
    where the password was set. Of the files of certificates, `extra_authorities` are trusted beside the system's and
    `authorities` in their place.

    Raises `ValueError` for an invalid host or port, for half a login, and for a login that would cross a network
    unencrypted (``Security.NONE`` off loopback).
    """

    host: str
    port: int
    security: Security
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    helo_name: str = "[127.0.0.1]"
    password_setting: Setting = Setting.MAIL_PASSWORD
    authorities: Path | None = None
    extra_authorities: Path | None = None

    def __post_init__(self) -> None:
        """Reject what would fail later or leak the password."""
        if not self.host or not self.host.isprintable() or " " in self.host:
            raise ValueError("The SMTP host must be a name or an address, without spaces.")
        if not 0 < self.port <= _LAST_PORT:
            raise ValueError("The SMTP port must lie between 1 and 65535.")
        if (self.username is None) != (self.password is None):
            raise ValueError("An SMTP login needs both a username and a password.")
        if not is_helo_name(self.helo_name):
            raise ValueError("The HELO name must be a domain, or an address in brackets.")
        if self.username is not None and self.security is Security.NONE and not self.is_loopback:
            raise ValueError("Without encryption outspool logs in on loopback only.")

    @property
    def is_loopback(self) -> bool:
        """True if the host can only be this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    @property
    def is_gmail(self) -> bool:
        """True if the server is Google's."""
        return self.host.lower().endswith((".gmail.com", ".googlemail.com"))

    def __str__(self) -> str:
        """Return ``host:port``."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Timeouts in seconds.

    `connect` covers the TLS handshake and the greeting; `command` is for the reply to a command; `message` for the
    reply to the final dot, ten minutes by RFC 5321 §4.5.3.2.6, because a shorter one puts messages in doubt for
    nothing. An unused connection is closed after `idle`. A server that has not answered for `silence` is reported, and
    waited for.
    """

    connect: float = 30.0
    command: float = 60.0
    message: float = 600.0
    idle: float = 30.0
    silence: float = 2.0
