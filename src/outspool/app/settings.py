"""The settings: environment and `.env` files, read once and frozen. Only `cli` and `app` use them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_data_path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from outspool.app.env_files import EnvFiles
from outspool.app.setting_faults import explain_faults
from outspool.app.values import clean_values, split_folders, split_list
from outspool.domain.principal import LOCAL_USER, SANDBOX_USER, USER_NAME
from outspool.domain.provider_headers import HARMLESS
from outspool.errors import MisconfiguredError

logger = logging.getLogger(__name__)


def _remove_spaces(value: object) -> object:
    """Google displays an app password in four groups; the spaces are not part of it."""
    return "".join(value.split()) if isinstance(value, str) else value


CommaSeparated = Annotated[tuple[str, ...], BeforeValidator(split_list)]
Folders = Annotated[tuple[str, ...], BeforeValidator(split_folders)]
SmtpSecurity = Literal["starttls", "tls", "none"]

GMAIL_HOST = "smtp.gmail.com"
_OURS = ("EMAIL_", "SMTP_", "GMAIL_", "OUTSPOOL_")


def _default_data_dir() -> Path:
    try:
        return user_data_path("outspool", appauthor=False)
    except (OSError, RuntimeError):
        raise MisconfiguredError(
            "This user has no home, so there is no place for the outbox.", "Set OUTSPOOL_DATA_DIR."
        ) from None


def env_files(folder: Path | None, environment: Mapping[str, str] = os.environ) -> EnvFiles:
    """Read the `.env` files of the data directory and of `folder`, if given."""
    home = environment.get("OUTSPOOL_DATA_DIR")
    try:
        data_dir = Path(home.strip()).expanduser() if home and home.strip() else _default_data_dir()
    except RuntimeError:
        raise MisconfiguredError(
            "OUTSPOOL_DATA_DIR names the home of a user who does not exist.", "Name a folder of your own."
        ) from None
    return EnvFiles.read(data_dir, folder, environment=environment)


class Settings(BaseModel):
    """Every setting; a field's alias is its environment variable. `load` reads them."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    data_dir: Path = Field(default_factory=_default_data_dir, alias="OUTSPOOL_DATA_DIR")
    user: str = Field(LOCAL_USER, alias="OUTSPOOL_USER", pattern=f"^{USER_NAME}$")
    sandbox: bool = Field(default=False, alias="OUTSPOOL_SANDBOX")
    database_url: str = Field("", alias="DATABASE_URL", repr=False)

    gmail_email: str | None = Field(None, alias="GMAIL_EMAIL")
    gmail_app_password: Annotated[SecretStr | None, BeforeValidator(_remove_spaces)] = Field(
        None, alias="GMAIL_APP_PASSWORD"
    )
    smtp_host: str | None = Field(None, alias="SMTP_HOST")
    smtp_port: int | None = Field(None, alias="SMTP_PORT", ge=1, le=65535)
    smtp_username: str | None = Field(None, alias="SMTP_USERNAME")
    smtp_password: SecretStr | None = Field(None, alias="SMTP_PASSWORD")
    smtp_security: SmtpSecurity | None = Field(None, alias="SMTP_SECURITY")
    smtp_helo_name: str | None = Field(None, alias="SMTP_HELO_NAME")
    smtp_ca_file: Path | None = Field(None, alias="SMTP_CA_FILE")
    ssl_cert_file: Path | None = Field(None, alias="SSL_CERT_FILE")
    smtp_connections: int = Field(4, alias="SMTP_CONNECTIONS", ge=1, le=100)

    email_from: str | None = Field(None, alias="EMAIL_FROM")
    max_retries: int = Field(3, alias="EMAIL_MAX_RETRIES", ge=0, le=50)
    expire_after_hours: float = Field(120, alias="EMAIL_EXPIRE_AFTER_HOURS", gt=0, le=24 * 365)
    on_unknown: Literal["hold", "resend"] = Field("hold", alias="EMAIL_ON_UNKNOWN")
    rate_limit_per_hour: int = Field(100, alias="EMAIL_RATE_LIMIT_PER_HOUR", ge=1)
    daily_quota: int | None = Field(None, alias="EMAIL_DAILY_QUOTA", ge=1)
    batch_size: int = Field(50, alias="EMAIL_BATCH_SIZE", ge=1, le=1000)
    allowed_recipients: CommaSeparated | None = Field(None, alias="EMAIL_ALLOWED_RECIPIENTS")
    denied_recipients: CommaSeparated = Field((), alias="EMAIL_DENIED_RECIPIENTS")
    allowed_headers: CommaSeparated = Field(HARMLESS, alias="EMAIL_ALLOWED_HEADERS")
    attachment_roots: Folders = Field((), alias="EMAIL_ATTACHMENT_ROOTS")
    template_dir: Path | None = Field(None, alias="EMAIL_TEMPLATE_DIR")
    max_message_mb: float = Field(25, alias="EMAIL_MAX_MESSAGE_MB", gt=0, le=150)

    aws_bucket_name: str | None = Field(None, alias="AWS_BUCKET_NAME")
    aws_access_key_id: str | None = Field(None, alias="AWS_ACCESS_KEY_ID")
    aws_secret_access_key: SecretStr | None = Field(None, alias="AWS_SECRET_ACCESS_KEY")
    aws_region: str | None = Field(None, alias="AWS_REGION")
    aws_endpoint_url: str | None = Field(None, alias="AWS_ENDPOINT_URL", repr=False)
    aws_ca_bundle: Path | None = Field(None, alias="AWS_CA_BUNDLE")

    allowed_hosts: CommaSeparated | None = Field(None, alias="OUTSPOOL_ALLOWED_HOSTS")
    allowed_origins: CommaSeparated | None = Field(None, alias="OUTSPOOL_ALLOWED_ORIGINS")

    @classmethod
    def load(
        cls,
        overrides: Mapping[str, object] | None = None,
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> Settings:
        """Read the environment, then the `.env` of `folder` if given, then that of the data directory.

        `overrides` are command-line options by variable name. Raises `MisconfiguredError`, naming the variable but
        never its value.
        """
        files = env_files(folder, environment)
        for file in files.ignored:
            logger.warning("%s is ignored: %s.", file.path, file.distrust)
        given = {name: str(value) for name, value in (overrides or {}).items()}
        chosen = {name.upper(): value for name, value in environment.items() if value.strip()} | given
        if "EMAIL_ALLOWED_RECIPIENTS" not in given and _is_allowlist_blank(files, environment):
            raise MisconfiguredError(
                "EMAIL_ALLOWED_RECIPIENTS is set and empty: everybody, or nobody?",
                "Name addresses or @domains, or unset it to allow everybody.",
            )
        files.check_secrets(chosen)
        named = {**files.values(), **chosen, **(overrides or {})}
        settings = cls._read({name: value for name, value in named.items() if name in cls.names()})
        if settings.user == SANDBOX_USER:
            raise MisconfiguredError(
                f"OUTSPOOL_USER is {SANDBOX_USER}, the name that owns the sandbox's mail.", "Choose another name."
            )
        return settings

    @classmethod
    def _read(cls, values: Mapping[str, object]) -> Settings:
        """Return the settings of these variables. Raises `MisconfiguredError` with all that is wrong with them."""
        cleaned, faults = clean_values(values)
        try:
            settings = cls.model_validate(cleaned)
        except ValidationError as error:
            named = {fault.split()[0] for fault in faults}
            faults += [fault for fault in explain_faults(error, cls.model_fields) if fault.split()[0] not in named]
        else:
            if not faults:
                return settings
        fix = "Change it, or unset it." if len(faults) == 1 else "Change them, or unset them."
        raise MisconfiguredError(f"{'; '.join(faults)}.", fix)

    @classmethod
    def names(cls) -> frozenset[str]:
        """Return the names of all variables."""
        return frozenset(field.alias for field in cls.model_fields.values() if field.alias)

    @property
    def store_url(self) -> str:
        """The database: ``DATABASE_URL``, or an SQLite file in the data directory."""
        return self.database_url or f"sqlite:///{self.data_dir.expanduser().absolute() / 'outspool.db'}"

    @property
    def blobs_dir(self) -> Path:
        """Folder of attachments, if there is no bucket."""
        return self.data_dir.expanduser().absolute() / "attachments"

    @property
    def templates_dir(self) -> Path:
        """Folder of templates: ``EMAIL_TEMPLATE_DIR``, or one in the data directory."""
        return (self.template_dir or self.data_dir / "templates").expanduser().absolute()

    @property
    def sandbox_dir(self) -> Path:
        """Folder of the sandbox's ``.eml`` files."""
        return self.data_dir.expanduser().absolute() / "sandbox"


def _is_allowlist_blank(files: EnvFiles, environment: Mapping[str, str]) -> bool:
    """Tell whether the winning source of the allowlist sets it to nothing."""
    places = (environment, *(file.values for file in reversed(files.all)))
    named = [place["EMAIL_ALLOWED_RECIPIENTS"] for place in places if "EMAIL_ALLOWED_RECIPIENTS" in place]
    return bool(named) and not named[0].strip(" ,")


def unknown_names(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return variables that look like outspool's but are not: a misspelt limit would silently not apply."""
    known = Settings.names()
    return sorted(name for name in environment if name.startswith(_OURS) and name not in known)
