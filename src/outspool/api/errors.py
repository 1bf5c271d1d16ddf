"""Words errors for the face that shows them: with environment variables, where its reader can set them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from outspool.domain.setting import Setting
from outspool.errors import OutspoolError

VARIABLES: Mapping[Setting, str] = MappingProxyType(
    {
        Setting.ALLOWED_RECIPIENTS: "EMAIL_ALLOWED_RECIPIENTS",
        Setting.DENIED_RECIPIENTS: "EMAIL_DENIED_RECIPIENTS",
        Setting.ALLOWED_HEADERS: "EMAIL_ALLOWED_HEADERS",
        Setting.SENDER: "EMAIL_FROM",
        Setting.RATE_LIMIT: "EMAIL_RATE_LIMIT_PER_HOUR",
        Setting.DAILY_QUOTA: "EMAIL_DAILY_QUOTA",
        Setting.MAX_MESSAGE_SIZE: "EMAIL_MAX_MESSAGE_MB",
        Setting.ATTACHMENT_FOLDERS: "EMAIL_ATTACHMENT_ROOTS",
        Setting.TEMPLATE_FOLDER: "EMAIL_TEMPLATE_DIR",
        Setting.DATA_FOLDER: "OUTSPOOL_DATA_DIR",
        Setting.DATABASE: "DATABASE_URL",
        Setting.MAIL_SERVER: "SMTP_HOST",
        Setting.MAIL_PORT: "SMTP_PORT",
        Setting.MAIL_SECURITY: "SMTP_SECURITY",
        Setting.MAIL_USER: "SMTP_USERNAME",
        Setting.MAIL_PASSWORD: "SMTP_PASSWORD",
        Setting.MAIL_AUTHORITIES: "SMTP_CA_FILE",
        Setting.HELO_NAME: "SMTP_HELO_NAME",
        Setting.GMAIL_ADDRESS: "GMAIL_EMAIL",
        Setting.GMAIL_PASSWORD: "GMAIL_APP_PASSWORD",
        Setting.BUCKET: "AWS_BUCKET_NAME",
        Setting.BUCKET_REGION: "AWS_REGION",
        Setting.BUCKET_SERVER: "AWS_ENDPOINT_URL",
        Setting.BUCKET_AUTHORITIES: "AWS_CA_BUNDLE",
        Setting.ACCESS_KEY: "AWS_ACCESS_KEY_ID",
        Setting.SECRET_KEY: "AWS_SECRET_ACCESS_KEY",
    }
)
"""The environment variable of each setting that a text refers to."""

_BY_PHRASE = {form: name for setting, name in VARIABLES.items() for form in (setting.value, setting.at_start)}
_PHRASE = re.compile(rf'({"|".join(map(re.escape, _BY_PHRASE))})(?: to "([\w.:-]+)")?')
_TOLD = frozenset({"summary", "message", "hint", "detail", "notes"})
"""Fields of a result that are our own words; all others hold what callers or strangers wrote."""


def describe(error: OutspoolError) -> str:
    """Return ``code: message hint`` with the names of environment variables, for stdio and the command line.

    A face whose reader sets none, as over HTTP, says `str(error)`: the same in plain words.
    """
    return name_variables(str(error))


def name_variables(text: str) -> str:
    """Return an error, a problem or a finding with the names of environment variables for those of settings."""
    return _PHRASE.sub(lambda match: _BY_PHRASE[match[1]] + (f"={match[2]}" if match[2] else ""), text)


def name_variables_in_result(result: Any) -> Any:
    """Return a dumped result in which our own sentences name environment variables; see `name_variables`."""
    if isinstance(result, list):
        return [name_variables_in_result(item) for item in result]
    if not isinstance(result, dict):
        return result
    return {key: _name_in_field(key, value) for key, value in result.items()}


def _name_in_field(key: str, value: Any) -> Any:
    if key in _TOLD and isinstance(value, str):
        return name_variables(value)
    if key in _TOLD and isinstance(value, list):
        return [name_variables(item) if isinstance(item, str) else name_variables_in_result(item) for item in value]
    return name_variables_in_result(value)
