"""A calendar file's media type has the method that its file says."""

from __future__ import annotations

import pytest

from outspool.domain.attachment import check_content_type
from outspool.domain.calendar_method import add_method
from outspool.errors import AttachmentRefused

FILE = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"


@pytest.mark.parametrize(
    ("given", "beginning", "sent"),
    [
        ("text/calendar", FILE, "text/calendar; charset=utf-8; method=REQUEST"),
        ("text/calendar; method=request", FILE, "text/calendar; charset=utf-8; method=REQUEST"),
        ('text/calendar; method="REQUEST"; charset=UTF-8', b"", "text/calendar; charset=utf-8; method=REQUEST"),
        ("Text/Calendar; charset=iso-8859-1", FILE, "text/calendar; charset=iso-8859-1; method=REQUEST"),
        ("text/calendar", FILE.replace(b"\r\n", b"\n"), "text/calendar; charset=utf-8; method=REQUEST"),
        ("text/calendar", b"X-METHOD:REQUEST\r\nDESCRIPTION:METHOD:CANCEL\r\n", "text/calendar; charset=utf-8"),
        ("text/plain", FILE, "text/plain"),
    ],
)
def test_the_method_is_kept_or_read_from_the_file(given: str, beginning: bytes, sent: str) -> None:
    assert add_method(check_content_type(given), beginning, "attachments[0]") == sent


def test_a_method_that_is_not_the_files_is_refused() -> None:
    with pytest.raises(AttachmentRefused, match="says method=CANCEL, and the file says METHOD:REQUEST"):
        add_method("text/calendar; method=CANCEL", FILE, "attachments[0]")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("application/pdf; name=a.pdf", '"name"'),
        ("text/plain; format=flowed", '"format"'),
        ("text/plain; method=REQUEST", '"method"'),
        ("text/calendar; method=REQUEST; component=VEVENT", '"component"'),
        ("text/plain; charset=utf-8; boundary=x", '"boundary"'),
    ],
)
def test_a_parameter_that_is_not_supported_is_named(given: str, named: str) -> None:
    with pytest.raises(AttachmentRefused) as refusal:
        check_content_type(given)
    assert named in refusal.value.message
    assert refusal.value.hint.startswith("Leave it out")
