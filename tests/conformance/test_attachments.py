"""Attachments on both databases: no file is lost, and none is forgotten."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.blobs import digest_of, keep, read
from support.outbox_samples import EVERYTHING, NOW, Outlet, an_email

from outspool.adapters.blobs.local import LocalBlobs
from outspool.adapters.sql.attachments import SqlBlobLedger
from outspool.adapters.sql.tables import blobs as blobs_table
from outspool.domain.attachment import Attachment
from outspool.domain.email import Event
from outspool.domain.status import EmailStatus
from outspool.errors import StoreUnavailable
from outspool.ports.emails import Search
from outspool.services.delivery.blob_collector import BlobCollector

KEPT = timedelta(days=1)
LATER = NOW + KEPT + timedelta(seconds=1)


def attached(content: bytes, name: str = "report.csv", *, content_id: str | None = None) -> Attachment:
    return Attachment(
        filename=name, content_type="text/csv", content_id=content_id, size=len(content), digest=digest_of(content)
    )


async def note(box: Outlet, *contents: bytes, at: datetime = NOW) -> None:
    await SqlBlobLedger(box.database).note({digest_of(c): len(c) for c in contents}, kept_until=at + KEPT)


async def condemn(box: Outlet, at: datetime = LATER) -> set[str]:
    return {*await SqlBlobLedger(box.database).condemn(at=at, limit=10)}


async def noted(box: Outlet) -> set[str]:
    statement = sa.select(blobs_table.c.digest)
    return {*await box.database.read(lambda connection: connection.execute(statement).scalars().all())}


async def test_attachments_come_back_in_their_order(box: Outlet) -> None:
    files = (attached(b"2", "ä.csv"), attached(b"1", content_id="logo"), attached(b"2", "again.csv"))
    await note(box, b"1", b"2")
    email = await box.accept(an_email(attachments=files))
    stored = await box.store.get(email.id, EVERYTHING)
    assert stored is not None
    assert stored.content.attachments == files
    [found] = (await box.store.find(Search(), EVERYTHING)).emails
    assert found.content.attachments == files
    [claimed] = await box.claim()
    assert claimed.content.attachments == files


async def test_each_email_of_a_batch_has_its_own_files(box: Outlet) -> None:
    await note(box, b"1", b"2")
    for files in ((attached(b"1"),), (), (attached(b"2"), attached(b"1"))):
        await box.accept(an_email(attachments=files))
    assert [len(email.content.attachments) for email in await box.claim()] == [1, 0, 2]


async def test_a_repeated_email_is_found_with_its_files(box: Outlet) -> None:
    await note(box, b"1")
    email = an_email(attachments=(attached(b"1"),), idempotency_key="k")
    await box.accept(email)
    again = await box.accept(replace(an_email(idempotency_key="k"), fingerprint=email.fingerprint))
    assert again.content.attachments == email.content.attachments


async def test_attachments_can_be_replaced_and_cleared_while_the_email_waits(box: Outlet) -> None:
    await note(box, b"1", b"2")
    email = await box.accept(an_email(attachments=(attached(b"1"),)))
    for files in ((attached(b"2"), attached(b"1")), ()):
        now = replace(email, content=replace(email.content, attachments=files), version=email.version)
        revised = await box.revise(now, Event(at=NOW, status=EmailStatus.QUEUED, code="updated"))
        assert revised is not None
        assert revised.content.attachments == files
        email = revised


async def test_no_email_is_accepted_with_a_file_that_nobody_noted(box: Outlet) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        await box.accept(an_email(attachments=(attached(b"never noted"),)))
    assert await box.claim() == []


async def test_a_file_that_no_email_has_is_left_over_after_its_time(box: Outlet) -> None:
    await note(box, b"1")
    assert await condemn(box, NOW + KEPT - timedelta(seconds=1)) == set()
    assert await condemn(box) == {digest_of(b"1")}


async def test_a_file_that_an_email_has_is_never_left_over(box: Outlet) -> None:
    await note(box, b"1", b"2")
    await box.accept(an_email(attachments=(attached(b"1"),)))
    assert await condemn(box) == {digest_of(b"2")}


async def test_a_file_that_is_asked_for_again_stays(box: Outlet) -> None:
    await note(box, b"1")
    await note(box, b"1", at=LATER)
    assert await condemn(box) == set()


async def test_a_file_is_kept_as_long_as_whoever_asked_for_longest_wants(box: Outlet) -> None:
    await note(box, b"1", at=LATER)
    await note(box, b"1")
    assert await condemn(box) == set()


async def test_a_file_that_is_being_removed_cannot_be_counted_on(box: Outlet, other: Outlet) -> None:
    await note(box, b"1")
    await condemn(box)
    with pytest.raises(StoreUnavailable, match="being removed right now"):
        await note(other, b"1", b"2", at=LATER)
    await SqlBlobLedger(box.database).forget([digest_of(b"1")])
    assert digest_of(b"2") not in await noted(box)
    await note(other, b"1", b"2", at=LATER)


async def test_what_is_not_condemned_is_not_forgotten(box: Outlet) -> None:
    await note(box, b"1")
    await SqlBlobLedger(box.database).forget([digest_of(b"1")])
    assert await noted(box) == {digest_of(b"1")}


async def test_two_who_remove_get_different_files(box: Outlet, other: Outlet) -> None:
    contents = [bytes([n]) for n in range(20)]
    await note(box, *contents)
    first, second = await asyncio.gather(condemn(box), condemn(other))
    assert first.isdisjoint(second)


async def test_what_somebody_condemned_and_did_not_remove_is_left_over_an_hour_later(
    box: Outlet, other: Outlet
) -> None:
    await note(box, b"1")
    assert await condemn(box) == {digest_of(b"1")}
    assert await condemn(other, LATER + timedelta(minutes=59)) == set()
    assert await condemn(other, LATER + timedelta(minutes=61)) == {digest_of(b"1")}


async def test_many_emails_with_the_same_files_do_not_wait_for_one_another(box: Outlet, other: Outlet) -> None:
    contents = [bytes([n]) for n in range(30)]
    async with asyncio.timeout(30):
        await asyncio.gather(
            *(note(by, *order) for by in (box, other) for order in (contents, contents[::-1]) for _ in range(10))
        )
    assert len(await noted(box)) == 30


class _Stopped:
    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        return self._at

    def elapsed(self) -> float:
        return 0.0


async def test_a_sweep_removes_leftovers_alone(box: Outlet, tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    for content in (b"of an email", b"left over", b"asked for again"):
        await note(box, content)
        await keep(blobs, content)
    await box.accept(an_email(attachments=(attached(b"of an email"),)))
    await note(box, b"asked for again", at=LATER)
    await BlobCollector(blobs, SqlBlobLedger(box.database), clock=_Stopped(LATER)).sweep()
    assert await blobs.size(digest_of(b"left over")) is None
    assert await read(blobs, b"of an email") == b"of an email"
    assert await read(blobs, b"asked for again") == b"asked for again"
    assert await noted(box) == {digest_of(b"of an email"), digest_of(b"asked for again")}


async def test_a_sweep_removes_any_number_of_leftovers(box: Outlet, tmp_path: Path) -> None:
    contents = [str(n).encode() for n in range(250)]
    await note(box, *contents)
    await BlobCollector(LocalBlobs(tmp_path), SqlBlobLedger(box.database), clock=_Stopped(LATER)).sweep()
    assert await noted(box) == set()
