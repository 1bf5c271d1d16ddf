"""No limit rejects an email that a person would send."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from support.composing import text_of
from support.front import Front, front
from support.smtp_sink import SmtpSink

pytestmark = pytest.mark.asyncio(loop_scope="session")

STORY = """<tr><td style="padding:24px 32px;font:16px/1.5 Helvetica,Arial,sans-serif;color:#333333">
<h2 style="margin:0 0 12px">Story {n}: What&rsquo;s new &amp; why it matters</h2>
<p>Dear reader, <b>this week</b> we look at number {n}. <a href="https://news.example.com/s/{n}?u=1&amp;v=2">Read
<em>more</em></a>.</p><ul><li>First point</li><li>Second point<ul><li>A detail</li></ul></li></ul>
<img src="https://news.example.com/{n}.png" width="600" alt="Picture {n}" style="display:block;border:0"></td></tr>
"""


def newsletter(size: int) -> str:
    head = (
        "<!DOCTYPE html><html><head><title>News</title><style>@media (max-width:600px){td{padding:8px}}</style></head>"
    )
    stories = "".join(STORY.format(n=n) for n in range(size // len(STORY) + 1))
    return (
        f'{head}<body><table width="100%"><tr><td><table width="600">{stories}</table></td></tr></table></body></html>'
    )


def thread(messages: int) -> str:
    """Return a thread as Gmail quotes it: each answer holds all before it."""
    opening = "".join(
        f"<div dir=ltr>Answer {n}: I think so, too.<br>Best,<br>Ada</div><br><div class=gmail_quote><div dir=ltr>"
        f"On day {n}, Bob &lt;<a href='mailto:bob@example.com'>bob@example.com</a>&gt; wrote:<br></div>"
        "<blockquote class=gmail_quote style='margin:0 0 0 0.8ex;border-left:1px solid rgb(204,204,204)'>"
        for n in range(messages)
    )
    return f"{opening}<div>The first message.</div>{'</blockquote></div>' * messages}"


async def test_a_newsletter_of_100_kb_is_sent_with_its_text(face: Front) -> None:
    html = newsletter(100_000)
    [mail] = await face.delivered({"html": html, "body": None})
    assert text_of(mail.parsed, "html") == html
    text = text_of(mail.parsed, "plain")
    assert text.count("## Story") == html.count("<h2")
    assert "[Read *more*](https://news.example.com/s/7?u=1&v=2)" in text.replace("Read\n", "Read ")
    assert "- Second point" in text


async def test_a_thread_of_50_messages_is_sent_with_its_quotes(face: Front) -> None:
    [mail] = await face.delivered({"html": thread(50), "body": None})
    text = text_of(mail.parsed, "plain")
    assert all(f"Answer {n}: I think so, too." in text for n in range(50))
    assert "> " * 50 + "The first message." in text


async def test_100_recipients_get_it(face: Front) -> None:
    people = [f"Person {n} <p{n}@example.com>" for n in range(100)]
    [mail] = await face.delivered({"to": people[:60], "cc": people[60:90], "bcc": people[90:]})
    assert len(mail.recipients) == 100


async def test_100_newsletters_are_one_batch(face: Front) -> None:
    emails = [{"to": [f"p{n}@example.com"]} for n in range(100)]
    shared = {"subject": "News", "html": newsletter(100_000)}
    result = await face.call("send_batch", {"emails": emails, "shared": shared, "wait": 0})
    assert not result.is_error, result.content
    assert result.structured_content is not None
    for email in result.structured_content["emails"]:
        status = (await face.call("get_status", {"email_id": email["id"]})).structured_content
        assert status is not None
        face.ours.add(status["message_id"])


async def test_a_file_of_25_mb_is_sent_where_the_server_takes_it(tmp_path: Path) -> None:
    """Encoded it has 34 MB, so the operator has raised the limit as the server has."""
    content = os.urandom(25_000_000)
    (tmp_path / "smtp").mkdir()
    with SmtpSink(tmp_path / "smtp") as sink:
        url = f"sqlite:///{tmp_path / 'outspool.db'}"
        async with front(tmp_path / "data", sink, url, EMAIL_MAX_MESSAGE_MB="40") as face:
            file = {"filename": "film.bin", "content": base64.b64encode(content).decode()}
            [mail] = await face.delivered({"attachments": [file]})
            [part] = [part for part in mail.parsed.walk() if part.get_filename()]
            assert part.get_payload(decode=True) == content
