"""A sender address and the SMTP account that sends for it."""

from __future__ import annotations

from dataclasses import dataclass

SANDBOX_IDENTITY = "sandbox"
"""The sandbox's identity, in place of an address, so that no worker with a real account claims its mail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Workers claim mail by `address`, so that changing the server or the login strands no email.

    `address` is in lower case, `SANDBOX_IDENTITY` in the sandbox, and empty if no account is configured. `account` is
    the login, ``user@host:port``; it contains no secret.
    """

    address: str
    account: str
