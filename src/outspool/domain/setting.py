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
    MAIL_PORT = 'the "mail server port" setting'
    MAIL_SECURITY = 'the "mail server security" setting'
    MAIL_USER = 'the "mail server user" setting'
    MAIL_PASSWORD = 'the "mail server password" setting'  # noqa: S105 - a phrase
    MAIL_AUTHORITIES = 'the "mail server authorities" setting'
    HELO_NAME = 'the "HELO name" setting'
    GMAIL_ADDRESS = 'the "Gmail address" setting'
    GMAIL_PASSWORD = 'the "Gmail app password" setting'  # noqa: S105 - a phrase
    BUCKET = 'the "bucket" setting'
    BUCKET_REGION = 'the "bucket region" setting'
    BUCKET_SERVER = 'the "bucket server" setting'
    BUCKET_AUTHORITIES = 'the "bucket authorities" setting'
    ACCESS_KEY = 'the "access key" setting'
    SECRET_KEY = 'the "secret key" setting'  # noqa: S105 - a phrase

    @property
    def at_start(self) -> str:
        """The phrase for the beginning of a sentence."""
        return f"T{self.value[1:]}"

    def to(self, value: str) -> str:
        """Return what follows "set" when the setting should get `value`."""
        return f'{self.value} to "{value}"'
