"""Words errors for the face that shows them: with environment variables, where its reader can set them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

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
        Setting.GMAIL_ADDRESS: "GMAIL_EMAIL",
    }
)
"""The environment variable of each setting that a text refers to."""

_BY_PHRASE = {form: name for setting, name in VARIABLES.items() for form in (setting.value, setting.at_start)}
_PHRASE = re.compile("|".join(map(re.escape, _BY_PHRASE)))


def describe(error: OutspoolError) -> str:
    """Return ``code: message hint`` with the names of environment variables, for stdio and the command line.

    A face whose reader sets none, as over HTTP, says `str(error)`: the same in plain words.
    """
    return name_variables(str(error))


def name_variables(text: str) -> str:
    """Return an error, a problem or a finding with the names of environment variables for those of settings."""
    return _PHRASE.sub(lambda match: _BY_PHRASE[match[0]], text)
