"""Builds the `Doctor` of a running configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from outspool.adapters.files.disk_check import disk_state, folders_open_to_others
from outspool.adapters.smtp.transport import SmtpAccount, SmtpTransport, Timeouts
from outspool.adapters.sql.probe import SqlProbe
from outspool.app import configuration
from outspool.app.installations import Installation, own_installation
from outspool.app.runtime import Outspool
from outspool.app.settings import Settings, unknown_names
from outspool.app.storage import find_missing_library
from outspool.domain.setting import Setting
from outspool.services.doctor.configuration_checks import Setup, check_templates
from outspool.services.doctor.doctor import Doctor
from outspool.services.doctor.findings import Finding

_APP_PASSWORD = re.compile("[A-Za-z]{16}")
_IMPATIENT = Timeouts(connect=10, command=20)
"""Short timeouts, because a person is waiting."""


def build_doctor(outspool: Outspool, *, offline: bool, installation: Installation | None = None) -> Doctor:
    """Build the doctor of this outspool, by default as a command typed here; `offline` skips the SMTP login."""
    account = outspool.smtp
    setup = _setup(outspool, installation or own_installation())
    database = outspool.database
    folder = outspool.settings.data_dir if database.is_postgres else database.sqlite_path.parent
    return Doctor(
        setup,
        disk=partial(disk_state, folder, needs_locks=not database.is_postgres),
        open_folders=partial(folders_open_to_others, [folder, *_own_folders(outspool.settings)]),
        blobs=None if setup.missing_library or (offline and outspool.settings.aws_bucket_name) else outspool.blobs,
        probe=SqlProbe(outspool.settings.store_url, identity=outspool.identity.address),
        queue=outspool.queue,
        account=outspool.account,
        breaker=outspool.breaker,
        log_in=None if offline or account is None else partial(_log_in, account, outspool.identity.address),
        look_at_templates=partial(_templates, outspool),
        clock=outspool.clock,
        machine_clock=outspool.machine_clock,
        timings=outspool.timings,
    )


def _own_folders(settings: Settings) -> tuple[Path, ...]:
    return settings.data_dir, settings.blobs_dir, settings.sandbox_dir


async def _log_in(account: SmtpAccount, sender: str) -> None:
    await SmtpTransport(account, timeouts=_IMPATIENT).check(sender=sender if "@" in sender else "")


async def _templates(outspool: Outspool) -> Finding:
    settings = outspool.settings
    is_missing = settings.template_dir is not None and not settings.templates_dir.is_dir()
    missing = str(settings.templates_dir) if is_missing else ""
    return check_templates(await outspool.outbox.list_templates(), missing_folder=missing)


def _setup(outspool: Outspool, installation: Installation) -> Setup:
    settings, account = outspool.settings, outspool.smtp
    return Setup(
        source=installation.source,
        account=outspool.account_label,
        obstacle=outspool.rules.obstacle,
        is_sandbox=settings.sandbox,
        sender=configuration.read_sender(settings, account),
        gmail=account.username if account and account.is_gmail else None,
        has_odd_app_password=account is not None and account.is_gmail and not _is_app_password(account.password),
        has_two_accounts=_has_two_accounts(settings, account),
        allowed=settings.allowed_recipients,
        denied=settings.denied_recipients,
        ignored_files=[(str(file.path), file.distrust) for file in installation.files.ignored],
        unknown_names=unknown_names(dict.fromkeys(_list_set_names(installation), "")),
        known_names=sorted(field.alias for field in Settings.model_fields.values() if field.alias),
        missing_library=find_missing_library(settings),
    )


def _has_two_accounts(settings: Settings, account: SmtpAccount | None) -> bool:
    """Tell whether a second account is set that is not used."""
    return bool(settings.smtp_host and settings.gmail_email) and (
        account is None or account.password_setting is not Setting.GMAIL_PASSWORD
    )


def _is_app_password(password: str | None) -> bool:
    """Tell whether a password looks like one of Google's app passwords."""
    return password is not None and _APP_PASSWORD.fullmatch(password.replace(" ", "")) is not None


def _list_set_names(installation: Installation) -> Iterator[str]:
    """Yield the names of all variables set in the environment or a `.env` file."""
    for file in installation.files.all:
        yield from file.values
    yield from installation.environment
