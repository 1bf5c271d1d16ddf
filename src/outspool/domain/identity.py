"""A sender address, and the SMTP account that sends for it."""

from __future__ import annotations

from dataclasses import dataclass

SANDBOX_IDENTITY = "sandbox"
"""Stands for the address in the sandbox, so that no worker with a real account ever claims its mail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Mail is claimed by `address`: a change of server or login strands nothing.

    `address` is in lower case, `SANDBOX_IDENTITY` in the sandbox, and empty when no account is set. `account` is the
    login, ``user@host:port``; it tells accounts apart and holds no secret.
    """

    address: str
    account: str
