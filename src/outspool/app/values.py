"""Values of settings as people write them: quoted, spaced, in capitals, or with the words of other programs."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import Path

from outspool.app.server_address import parse_server

SECRETS = frozenset({"SMTP_PASSWORD", "GMAIL_APP_PASSWORD", "AWS_SECRET_ACCESS_KEY"})
"""Values that are taken as they are, because any character may belong to them."""

_SECURITY = {
    **dict.fromkeys(("starttls", "start_tls", "start-tls", "explicit"), "starttls"),
    **dict.fromkeys(("tls", "ssl", "ssl/tls", "tls/ssl", "smtps", "implicit"), "tls"),
    **dict.fromkeys(("none", "no", "off", "false", "0", "plain", "unencrypted"), "none"),
    **dict.fromkeys(("auto", "default", "yes", "on", "true", "1"), None),
}
_PATHS = frozenset({"OUTSPOOL_DATA_DIR", "EMAIL_TEMPLATE_DIR", "SMTP_CA_FILE", "SSL_CERT_FILE", "AWS_CA_BUNDLE"})
_UNITS = {"EMAIL_MAX_MESSAGE_MB": ("mib", "mb", "m"), "EMAIL_EXPIRE_AFTER_HOURS": ("hours", "hour", "h")}
_BETWEEN = re.compile(r"[,;\s]+")
_BETWEEN_FOLDERS = re.compile(r"[,\n]+")


def clean_values(values: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """Return the values in the form that outspool works with, without blank ones, and what is wrong with the others.

    Each fault begins with the name of its variable, and repeats no value.
    """
    cleaned = {name: _clean(name, value) for name, value in values.items()}
    cleaned = {name: value for name, value in cleaned.items() if value not in ("", None)}
    faults = [*_read_server(cleaned), *_read_security(cleaned), *_expand_homes(cleaned)]
    if isinstance(helo := cleaned.get("SMTP_HELO_NAME"), str):
        cleaned["SMTP_HELO_NAME"] = _bracket_address(helo)
    return cleaned, faults


def split_list(value: object) -> object:
    """Split a list at commas, semicolons and spaces; a list in JSON is read too."""
    return _split(value, _BETWEEN)


def split_folders(value: object) -> object:
    """Split a list of folders, whose names may have spaces, at commas and line ends; a list in JSON is read too."""
    return _split(value, _BETWEEN_FOLDERS)


def _split(value: object, between: re.Pattern[str]) -> object:
    if not isinstance(value, str):
        return value
    if value.startswith("["):
        with contextlib.suppress(ValueError, TypeError, RecursionError):  # an address in brackets is no JSON
            value = ",".join(map(str, json.loads(value)))
    return tuple(part.strip() for part in between.split(value) if part.strip())


def _clean(name: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    if name in SECRETS:
        return value.strip("\r\n") if value.strip() else ""
    text = value.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    for unit in _UNITS.get(name, ()):
        if text.lower().endswith(unit):
            text = text[: -len(unit)].strip()
            break
    return text.lower() if name == "EMAIL_ON_UNKNOWN" else text


def _read_server(values: dict[str, object]) -> list[str]:
    """Replace the server in `values` by its parts; a port or a scheme written with it counts like its own setting."""
    text = values.get("SMTP_HOST")
    if not isinstance(text, str):
        return []
    try:
        server = parse_server(text)
    except ValueError as error:
        return [f"SMTP_HOST {error}"]
    values["SMTP_HOST"] = server.host
    if server.port is not None and str(values.setdefault("SMTP_PORT", server.port)) != str(server.port):
        return ["SMTP_HOST names another port than SMTP_PORT; leave one of them out"]
    if server.security is not None:
        values.setdefault("SMTP_SECURITY", server.security)
    return []


def _read_security(values: dict[str, object]) -> list[str]:
    text = values.get("SMTP_SECURITY")
    if not isinstance(text, str):
        return []
    if text.lower() not in _SECURITY:
        return ["SMTP_SECURITY must be starttls, tls or none"]
    values["SMTP_SECURITY"] = _SECURITY[text.lower()]
    return []


def _expand_homes(values: dict[str, object]) -> list[str]:
    """Replace ``~`` by the user's home in `values`."""
    faults = []
    for name in _PATHS & values.keys():
        try:
            values[name] = Path(str(values[name])).expanduser()
        except RuntimeError:
            faults.append(f"{name} names the home of a user who does not exist")
    return faults


def _bracket_address(name: str) -> str:
    """Return a HELO name in which an address stands in brackets (RFC 5321 §4.1.3)."""
    try:
        address = ipaddress.ip_address(name.strip("[]").removeprefix("IPv6:"))
    except ValueError:
        return name
    return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"  # noqa: PLR2004
