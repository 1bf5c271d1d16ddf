"""A blob's handle cannot be guessed from its content, and works only for the sender that stored it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from support.blobs import digest_of

from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.domain.email import Email
from outspool.errors import AttachmentRefused
from outspool.services.acceptance.attachment_requests import AttachmentRequest
from outspool.services.acceptance.validation import EmailRequest

ADA, EVE = "ada@example.com", "eve@example.com"
PAYSLIP = b"Ada Lovelace earns 100,000 a year\n"


def settings(database_url: str, folder: Path, sender: str | None, **more: object) -> Settings:
    variables = {"OUTSPOOL_DATA_DIR": folder / "data", "DATABASE_URL": database_url, **more}
    account = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": 1, "SMTP_SECURITY": "none", "EMAIL_FROM": sender}
    return Settings.load({**variables, **(account if sender else {})})


@asynccontextmanager
async def opened(database_url: str, folder: Path, *senders: str | None) -> AsyncIterator[list[Outspool]]:
    """Run an outspool for each sender on one database and one data directory; nobody dispatches."""
    async with AsyncExitStack() as stack:
        apps = [Outspool(settings(database_url, folder, sender)) for sender in senders]
        for app in apps:
            await stack.enter_async_context(app.run(worker=False))
        yield apps


async def attach(app: Outspool, folder: Path, content: bytes, name: str = "payslip.txt") -> str:
    file = folder / name
    await asyncio.to_thread(file.write_bytes, content)
    return await app.attach(file)


async def send(app: Outspool, handle: str) -> Email:
    draft = EmailRequest(
        to=["x@example.com"], subject="s", body="b", attachments=[AttachmentRequest(blob=handle, filename="a.txt")]
    )
    return await app.outbox.accept(draft)


async def refusal(app: Outspool, handle: str) -> str:
    with pytest.raises(AttachmentRefused) as refused:
        await send(app, handle)
    return str(refused.value).replace(handle, "HANDLE")


async def test_whoever_guesses_the_content_can_neither_send_it_nor_learn_that_it_is_there(
    database_url: str, tmp_path: Path
) -> None:
    async with opened(database_url, tmp_path, ADA, EVE) as (ada, eve):
        handle = await attach(ada, tmp_path, PAYSLIP)
        guess, wrong = (f"blob:{digest_of(content)}" for content in (PAYSLIP, b"another guess"))
        for app in (ada, eve):
            assert await refusal(app, guess) == await refusal(app, wrong)
        assert digest_of(PAYSLIP) not in handle
        assert (await send(ada, handle)).content.attachments[0].digest == digest_of(PAYSLIP)


async def test_a_handle_of_one_sender_is_none_for_another(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path, ADA, EVE) as (ada, eve):
        handle = await attach(ada, tmp_path, PAYSLIP)
        assert await refusal(eve, handle) == await refusal(eve, f"blob:{'0' * 64}")
        own = await attach(eve, tmp_path, PAYSLIP)
        assert await refusal(ada, own) == await refusal(ada, f"blob:{'0' * 64}")
        assert (await send(eve, own)).content.attachments[0].size == len(PAYSLIP)
        sandbox = Outspool(settings(database_url, tmp_path, None, OUTSPOOL_SANDBOX=True))
        async with sandbox.run(worker=False):
            assert "no stored file" in await refusal(sandbox, handle)


async def test_one_content_has_as_many_handles_as_it_was_stored_times_and_is_there_once(
    database_url: str, tmp_path: Path
) -> None:
    async with opened(database_url, tmp_path, ADA, EVE) as (ada, eve):
        handles = [await attach(app, tmp_path, PAYSLIP, f"{n}.txt") for n, app in enumerate((ada, ada, eve))]
        assert len(set(handles)) == 3
        for app, handle in zip((ada, ada, eve), handles, strict=True):
            await send(app, handle)
    stored = [path for path in (tmp_path / "data" / "attachments").rglob("*") if path.is_file()]
    assert [path.name for path in stored] == [digest_of(PAYSLIP)]


async def test_a_file_that_was_stored_before_a_sender_was_set_is_for_whoever_has_its_handle(
    database_url: str, tmp_path: Path
) -> None:
    async with opened(database_url, tmp_path, None, ADA) as (nobody, ada):
        sent = await send(ada, await attach(nobody, tmp_path, PAYSLIP))
    assert sent.content.attachments[0].digest == digest_of(PAYSLIP)


async def test_the_files_of_an_email_have_no_handle(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path, ADA) as (ada,):
        file = AttachmentRequest(text=PAYSLIP.decode(), filename="a.txt")
        email = await ada.outbox.accept(EmailRequest(to=["x@example.com"], subject="s", body="b", attachments=[file]))
        assert "no stored file" in await refusal(ada, f"blob:{email.content.attachments[0].digest}")
