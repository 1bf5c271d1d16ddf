"""Times that are not exactly one future moment are rejected by every tool."""

from __future__ import annotations

import pytest
from support.front import Front

pytestmark = pytest.mark.asyncio(loop_scope="session")

LATER = {"to": ["ann@example.com"], "subject": "Later", "body": "Hi"}

REFUSED = [
    {"scheduled_at": "2099-06-01T09:00:00"},  # no offset
    {"scheduled_at": "2099-06-01"},
    {"scheduled_at": "2099-06-01T09:00:00", "timezone": "Mars/Olympus"},
    {"scheduled_at": "2099-06-01T09:00:00", "timezone": "../../etc/passwd"},
    {"scheduled_at": "2099-06-01T09:00:00", "timezone": "a\0b"},
    {"scheduled_at": "2099-06-01T09:00:00Z", "timezone": "Europe/Berlin", "delay": "PT1H"},
    {"scheduled_at": "2001-01-01T00:00:00Z"},  # past
    {"scheduled_at": "0001-01-01T00:00:00+14:00"},
    {"scheduled_at": "9999-12-31T23:59:59Z"},
    {"scheduled_at": "9999-12-31T23:59:59-14:00"},
    {"scheduled_at": "10000-01-01T00:00:00Z"},
    {"scheduled_at": "2027-03-28T02:30:00", "timezone": "Europe/Berlin"},  # never shown by any clock
    {"scheduled_at": "2027-10-31T02:30:00", "timezone": "Europe/Berlin"},  # shown twice
    {"scheduled_at": "2027-02-29T00:00:00Z"},
    {"scheduled_at": "2027-01-01T24:61:00Z"},
    {"scheduled_at": "2027-01-01T00:00:00+99:99"},
    {"scheduled_at": "tomorrow"},
    {"scheduled_at": ""},
    {"scheduled_at": "1893456000"},
    {"scheduled_at": "2027-01-01T00:00:00Z\r\nBcc: eve@example.com"},
    {"scheduled_at": "9" * 100_000},
    {"scheduled_at": "\N{ARABIC-INDIC DIGIT TWO}027-01-01T00:00:00Z"},
    {"delay": "PT0S"},
    {"delay": "-PT1H"},
    {"delay": "P99999D"},
    {"delay": "PT" + "9" * 400 + "H"},
    {"delay": "2h"},
    {"delay": ""},
    {"timezone": "Europe/Berlin"},
    {},
]


async def test_what_is_no_moment_to_come_is_refused(face: Front) -> None:
    await face.refuses(*((LATER | moment, "invalid_schedule: ") for moment in REFUSED), tool="schedule_email")


async def test_a_time_that_is_no_text_is_refused(face: Front) -> None:
    for moment in ({"scheduled_at": 1893456000}, {"delay": 3600}, {"scheduled_at": ["2099-01-01T00:00:00Z"]}):
        await face.refuses((LATER | moment, "must be a string"), tool="schedule_email")


async def test_a_time_given_to_the_tool_that_sends_now_is_never_ignored(face: Front) -> None:
    for moment in ({"scheduled_at": "2099-01-01T00:00:00Z"}, {"delay": "PT1H"}, {"timezone": "Europe/Berlin"}):
        await face.refuses((moment, "is an argument of schedule_email"))
    await face.refuses(({"schedule_at": "2099-01-01T00:00:00Z"}, "unknown argument"))


async def test_a_bad_time_leaves_a_waiting_email_as_it_is(face: Front) -> None:
    waiting = await face.attempt("schedule_email", **LATER, delay="P300D")
    assert not isinstance(waiting, str)
    before = await face.app.outbox.get(waiting.id)
    bad = [moment for moment in REFUSED if any(moment.values())]
    await face.refuses(
        *(({"email_id": waiting.id, **moment}, "invalid_schedule: ") for moment in bad), tool="update_email"
    )
    assert await face.app.outbox.get(waiting.id) == before
