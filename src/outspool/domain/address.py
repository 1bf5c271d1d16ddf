"""Parses one mailbox (RFC 5322 §3.4) as people write it: ``a@b.com``, ``Name <a@b.com>``, ``Doe, John <j@x.com>``.

The result is exactly one ASCII address that no SMTP server can read differently. SMTP libraries silently alter doubtful
addresses (``b@x.com,c@x.com`` becomes the first alone), so doubtful ones are rejected here. The name is free text;
`message.compose` quotes and encodes it. `domain.address_wrapping` takes off what programs put around an address.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence

from outspool.domain.address_wrapping import unwrap
from outspool.domain.email import Mailbox
from outspool.domain.refusals import RefusalCollector
from outspool.domain.setting import Setting
from outspool.domain.text import check_header_line
from outspool.domain.visible_text import find_invisible
from outspool.errors import InvalidAddress, brief

MAX_ADDRESS = 254
"""Characters of an address (RFC 5321 §4.5.3.1.3, less the angle brackets)."""

MAX_NAME = 200
"""Characters of a display name."""

_MAX_MAILBOX = 2 * MAX_NAME + MAX_ADDRESS + 8  # a quoted name may escape each of its characters

# An unquoted name may contain commas and quotes, but neither "@" nor ";", which indicate a list of addresses.
_NAMED = re.compile(
    r"""(?: "(?P<quoted>(?:[^"\\]|\\.)*)" | (?P<plain>[^<>@;"][^<>@;]*)? ) \s* <(?P<address>[^<>]*)>""", re.VERBOSE
)
_GROUP = re.compile(r'[^@<>"]*:.*;')
_ESCAPED = re.compile(r"\\(.)")
_AS_LIST = 'Give a list with each address as its own item, like ["a@example.com", "b@example.com"].'
_PLAIN = "Write it like name@example.com."
_NAMED_PLAIN = "Write it like Ada <ada@example.com>."

_ATEXT = r"[A-Za-z0-9!#$&'*+/=?^_`{|}~-]"  # without % and !, see `_check_address`
_DOTTED = re.compile(rf"\.*{_ATEXT}(?:{_ATEXT}|\.)*")
_QUOTED = re.compile(r'"([^"\\]*)"(@.*)')
_INTERNAL = re.compile(r"(?:.*\.)?(?:local|localhost|home\.arpa)")  # RFC 6762, RFC 6761, RFC 8375
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")


def parse_mailbox(value: str, field: str, *, internal: Collection[str] | None = ()) -> Mailbox:
    """Return the mailbox in `value`; internationalised domains are converted to punycode.

    A local part with dots that RFC 5321 does not allow, as Japanese carriers have issued, is quoted. A domain that only
    an internal network knows is allowed if it is among `internal` (lower case); None, for what an operator writes,
    allows all.

    Raises `InvalidAddress`, naming the argument `field`, if it is empty, too long, more than one address, or contains
    anything beside a name and an address. Makes no DNS lookup.
    """
    inner = unwrap(value) if len(value) <= _MAX_MAILBOX else value
    text = check_header_line(inner, field, _MAX_MAILBOX, InvalidAddress).strip()
    if not text:
        raise InvalidAddress(f"{field} holds an empty address.", _PLAIN)
    name, address = _split(text, field)
    return Mailbox(address=_check_address(unwrap(address), field, internal), name=_check_name(name, field))


def parse_mailboxes(values: Sequence[str], field: str, *, internal: Collection[str] | None = ()) -> tuple[Mailbox, ...]:
    """Return the mailbox of each item; raises `InvalidAddress`, naming each invalid one."""
    items = (values,) if isinstance(values, str) else values
    faults, mailboxes = RefusalCollector(), []
    for value in items:
        with faults.collect():
            mailboxes.append(parse_mailbox(value, field, internal=internal))
        if faults.is_full:
            break
    faults.raise_any()
    return tuple(mailboxes)


def is_internal(domain: str) -> bool:
    """Tell whether a domain (lower case) exists on an internal network only: a bare host, or one under ``.local``."""
    return "." not in domain or _INTERNAL.fullmatch(domain) is not None


def _refusal(text: str, field: str, why: str, hint: str = _PLAIN) -> InvalidAddress:
    return InvalidAddress(f"{field}: {brief(text)} {why}.", hint)


def _split(text: str, field: str) -> tuple[str, str]:
    """Split into display name and bare address."""
    if match := _NAMED.fullmatch(text):
        if match["quoted"] is not None:
            return _ESCAPED.sub(r"\1", match["quoted"]), match["address"].strip()
        return (match["plain"] or "").strip(), match["address"].strip()
    if "<" not in text and ">" not in text:
        return "", text
    if _GROUP.fullmatch(text) or (text.count("@") > 1 and re.search("[,;]", text)):
        raise _refusal(text, field, "is more than one address", _AS_LIST)
    if re.search(r">[^<>]+$", text):
        raise _refusal(text, field, "has something after the address")
    if "@" in text.partition("<")[0]:
        raise _refusal(text, field, "has an @ in the name", 'Quote the name, like "a@b" <a@example.com>.')
    raise _refusal(text, field, "is not a name and one <address>", 'Write it like "Doe, John" <john@example.com>.')


def _check_name(name: str, field: str) -> str:
    # Readers of a header see several spaces as one (RFC 5322 §3.2.2).
    normal = re.sub(" +", " ", unicodedata.normalize("NFC", name)).strip()
    if len(normal) > MAX_NAME:
        raise _refusal(name, field, f"is a name of {len(normal)} characters; {MAX_NAME} is the most", "Shorten it.")
    # Check again: unescaping and normalising may have produced new characters.
    return check_header_line(normal, f"The name in {field}", error=InvalidAddress)


def _check_address(address: str, field: str, internal: Collection[str] | None) -> str:
    if len(address) > MAX_ADDRESS:
        raise _refusal(address, field, f"is longer than {MAX_ADDRESS} characters", "No mailbox has such an address.")
    if (quoted := _QUOTED.fullmatch(address)) and _DOTTED.fullmatch(quoted[1]):
        address = quoted[1] + quoted[2]  # `_validate` puts the quotes back where the dots need them
    _check_shape(address, field)
    local, _, domain = address.partition("@")
    if not local.isascii():
        hidden = find_invisible(local)
        hint = "Such addresses (SMTPUTF8) are not supported yet."
        hint = hint if hidden is None else f"Take out the invisible character U+{ord(hidden):04X}."
        raise _refusal(address, field, "is not ASCII before the @", hint)
    if "%" in local or "!" in local:
        # Some servers read these as "forward to another domain", which would bypass the allowlist.
        raise _refusal(address, field, "has a routing character (% or !) before the @")
    if domain and is_internal(domain.lower()) and _HOST.fullmatch(domain.lower()):
        _check_internal(address, field, internal)
        return _validate(local, f"{domain}.example.com", address, field).removesuffix(".example.com")
    return _validate(local, domain, address, field)


def _check_internal(address: str, field: str, internal: Collection[str] | None) -> None:
    domain = address.rpartition("@")[2].lower()
    if internal is None or domain in internal:
        return
    if "." not in domain:
        raise _refusal(
            address,
            field,
            "is not complete",
            "Give the whole domain with its ending, like gmail.com. "
            f"If this is a host of the operator's own network, the operator names @{domain} in "
            f"{Setting.ALLOWED_RECIPIENTS}.",
        )
    raise _refusal(
        address,
        field,
        "is in a domain of internal networks (special-use), where mail goes only if the operator names it",
        f"Give a public address, or ask the operator to name @{domain} in {Setting.ALLOWED_RECIPIENTS}.",
    )


def _check_shape(address: str, field: str) -> None:
    """Reject what is not ``local@domain`` at all, with a message for each case."""
    if not address:
        raise InvalidAddress(f"{field} holds an empty address.", _PLAIN)
    if "@" in address and (address[0] + address[-1]) in ("[]", "{}"):
        kind, hint = ("a list", _AS_LIST) if address[0] == "[" else ("an object", _NAMED_PLAIN)
        raise _refusal(address, field, f"is not one address but {kind} in one text", hint)
    if address.lower().startswith("mailto:"):
        raise _refusal(address, field, "is a link with more than an address", "Give the address alone.")
    if re.search(r"[,;]", address) or (address.count("@") > 1 and re.search(r"\s", address)):
        raise _refusal(address, field, "is not one address", _AS_LIST)
    if re.search(r"[()]", address):
        raise _refusal(address, field, "has a comment in parentheses", _NAMED_PLAIN)
    for pattern, why in _SHAPES:
        if pattern.search(address):
            raise _refusal(address, field, why)


_SHAPES = (
    (re.compile(r'"'), "has quotes in the address"),
    (re.compile(r"[\[\]]"), "has a literal in square brackets"),
    (re.compile(r"\s"), "has a space in the address"),
    (re.compile(r"^[^@]*$"), "has no @"),
    (re.compile(r"@.*@"), "has more than one @"),
)


def _validate(local: str, domain: str, address: str, field: str) -> str:
    """Return the address in ASCII; `address` is for the refusal."""
    from email_validator import EmailNotValidError, validate_email  # 60 ms and more: not before the first address

    strict = re.sub(r"\.\.+", ".", local).strip(".")
    try:
        # `test_environment` accepts the reserved domain .test, which exists on test networks only.
        result = validate_email(
            f"{strict}@{domain}", allow_smtputf8=False, check_deliverability=False, test_environment=True
        )
    except EmailNotValidError as invalid:
        # The library appends the offending input after a colon or in parentheses; leave it out.
        reason = re.split("[:(]", str(invalid))[0].strip(" .")
        raise _refusal(address, field, f"is not an address that mail can reach ({reason})") from None
    if result.ascii_email is None:
        raise _refusal(address, field, "has no ASCII form")
    return result.ascii_email if strict == local else f'"{local}"@{result.ascii_email.rpartition("@")[2]}'
