"""Builds the `Doctor` of a running configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from outspool.adapters.files.disk_check import disk_state, folders_open_to_others
from outspool.adapters.smtp.transport import SmtpAccount, SmtpTransport, Timeouts
from outspool.adapters.sql.probe import SqlProbe
from outspool.app import configuration
from outspool.app.runtime import Outspool
from outspool.app.settings import Settings, env_files, unknown_names
from outspool.services.doctor.configuration_checks import Setup, check_templates
from outspool.services.doctor.doctor import Doctor
from outspool.services.doctor.findings import Finding

_IMPATIENT = Timeouts(connect=10, command=20)
"""Short timeouts, because a person is waiting."""


def build_doctor(outspool: Outspool, *, offline: bool) -> Doctor:
    """Build the doctor of this outspool; `offline` skips the SMTP login."""
    account = outspool.smtp
    database = outspool.database
    folder = outspool.settings.data_dir if database.is_postgres else database.sqlite_path.parent
    return Doctor(
        _setup(outspool),
        disk=partial(disk_state, folder, needs_locks=not database.is_postgres),
        open_folders=partial(folders_open_to_others, [folder, *_own_folders(outspool.settings)]),
        blobs=None if offline and outspool.settings.aws_bucket_name else outspool.blobs,
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


def _setup(outspool: Outspool) -> Setup:
    settings, account = outspool.settings, outspool.smtp
    return Setup(
        account=outspool.account_label,
        obstacle=outspool.rules.obstacle,
        is_sandbox=settings.sandbox,
        sender=configuration.read_sender(settings, account),
        gmail=account.username if account and account.is_gmail else None,
        has_two_accounts=bool(settings.smtp_host and settings.gmail_email),
        allowed=settings.allowed_recipients,
        denied=settings.denied_recipients,
        ignored_files=[(str(file.path), file.distrust) for file in env_files(Path.cwd()).ignored],
        unknown_names=unknown_names(dict.fromkeys(_list_set_names(), "")),
        known_names=sorted(field.alias for field in Settings.model_fields.values() if field.alias),
    )


def _list_set_names() -> Iterator[str]:
    """Yield the names of all variables set in the environment or a `.env` file."""
    for file in env_files(Path.cwd()).all:
        yield from file.values
    yield from os.environ
