"""Names of settings in errors, problems and findings: plain words, because a stored text may be read anywhere."""

from __future__ import annotations

from enum import StrEnum


class Setting(StrEnum):
    """A setting as a phrase for the middle of a sentence.

    A face whose reader sets environment variables puts their names in its place; see `outspool.api.errors`.
    """

    ALLOWED_RECIPIENTS = 'the "allowed recipients" setting'
    DENIED_RECIPIENTS = 'the "denied recipients" setting'
    ALLOWED_HEADERS = 'the "allowed headers" setting'
    SENDER = 'the "sender" setting'
    RATE_LIMIT = 'the "rate limit" setting'
    DAILY_QUOTA = 'the "daily quota" setting'
    MAX_MESSAGE_SIZE = 'the "largest message" setting'
    ATTACHMENT_FOLDERS = 'the "attachment folders" setting'
    TEMPLATE_FOLDER = 'the "template folder" setting'
    DATA_FOLDER = 'the "data folder" setting'
    DATABASE = 'the "database" setting'
    MAIL_SERVER = 'the "mail server" setting'
    GMAIL_ADDRESS = 'the "Gmail address" setting'

    @property
    def at_start(self) -> str:
        """The phrase for the beginning of a sentence."""
        return f"T{self.value[1:]}"
