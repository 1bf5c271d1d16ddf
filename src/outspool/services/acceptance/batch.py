"""Makes the emails of a batch: each is as it would be alone, and if one cannot be, none is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from outspool.domain.email import Email
from outspool.errors import InvalidArgument, NotConfigured, Refusal, TooLarge
from outspool.services.acceptance.attachment_requests import AttachmentRequest
from outspool.services.acceptance.attachments import Attachments, Gathered
from outspool.services.acceptance.submission import Submissions
from outspool.services.acceptance.validation import EmailRequest, text_size

MOST_AT_ONCE = 100
"""So many emails are accepted together at most."""

_MEGABYTE = 1024 * 1024
MAX_TEXT = 25 * _MEGABYTE
"""Characters of all their bodies and pages: a newsletter of 250 KB for a hundred."""


def check_number(emails: int) -> None:
    """Raise `InvalidArgument` when so many emails cannot be accepted together."""
    if not 1 <= emails <= MOST_AT_ONCE:
        raise InvalidArgument(f"emails holds {emails}; it takes 1 to {MOST_AT_ONCE}.", "Nothing was sent.")


def _check_text(drafts: Sequence[EmailRequest]) -> None:
    """Raise `TooLarge` for texts that are too much together: what is shared is written once, and stored for each."""
    size = sum(map(text_size, drafts))
    if size > MAX_TEXT:
        raise TooLarge(
            f"The texts of the emails are {size / _MEGABYTE:.1f} MB together; {MAX_TEXT // _MEGABYTE} MB is the most.",
            "Send several batches. Nothing was sent.",
        )


class Batch:
    """The emails of one call. Their files are read once, however many share them, and none is held open."""

    def __init__(self, submissions: Submissions, attachments: Attachments) -> None:
        """Begin an empty one."""
        self._submissions = submissions
        self._attachments = attachments
        self._files: dict[tuple[AttachmentRequest, ...], Gathered] = {}

    async def asked(self, asked: Sequence[tuple[EmailRequest, str | None]]) -> list[Email]:
        """Return the email of each draft, due now, with its idempotency key or None; see `Submissions.asked`.

        A `Refusal` names the first that is at fault.
        """
        check_number(len(asked))
        _check_text([draft for draft, _ in asked])
        emails = []
        for place, (draft, key) in enumerate(asked):
            await asyncio.sleep(0)  # each is composed once; other callers get their turn
            try:
                email, _ = await self._submissions.asked(draft, None, key, self._gathered)
            except NotConfigured:
                raise  # no email's fault
            except Refusal as refusal:
                refusal.message = f"emails[{place}]: {refusal.message}"
                raise
            emails.append(email)
        return emails

    async def store_files(self) -> None:
        """Store every file, as `Gathered.store` does."""
        for drafts, files in self._files.items():
            await self._attachments.store_seen(drafts, files.attachments)

    async def _gathered(self, drafts: Sequence[AttachmentRequest]) -> Gathered:
        asked = tuple(drafts)
        if asked not in self._files:
            async with self._attachments.gathered(asked) as files:
                self._files[asked] = files
        return self._files[asked]
