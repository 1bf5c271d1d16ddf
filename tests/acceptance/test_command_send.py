"""`outspool send`: how long it stays, how it ends, and what it shows without sending."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from support.command_line import PATIENCE, Inside, outspool, result
from support.stage import OUTSPOOL, Stage

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def _words(stage: Stage, *more: str, to: str = "ada@example.com") -> tuple[str, ...]:
    return ("send", "--to", to, "--subject", stage.topic, "--body", "Good day.", *more)


@pytest.mark.parametrize(
    ("to", "more", "code"),
    [
        ("ada@example.com", (), 0),
        ("data550-a@example.com", (), 3),
        ("defer-a@example.com", (), 3),
        ("dropdot-a@example.com", (), 3),
        ("ada@example.com", ("--delay", "P9D"), 0),
        ("ada@example.com", ("--recurrence", "0 9 * * mon"), 0),
    ],
)
def test_the_exit_code_tells_whether_all_of_it_was_sent(
    stdio: Stage, to: str, more: tuple[str, ...], code: int
) -> None:
    done = outspool(stdio, *_words(stdio, *more, to=to))
    assert done.returncode == code, done


def test_an_email_that_nobody_took_within_the_wait_is_accepted_and_not_sent(stdio: Stage) -> None:
    with stdio.smtp_down():
        done = outspool(stdio, *_words(stdio), "--wait", "1", "--json")
        assert done.returncode == 3
        assert result(done)["status"] in ("deferred", "queued", "sending")
        assert outspool(stdio, *_words(stdio), "--wait", "0").returncode == 0


def test_send_stays_for_as_long_as_it_promised_while_the_server_is_away(stdio: Stage, inside: Inside) -> None:
    with (
        stdio.smtp_down(),
        subprocess.Popen(
            [*OUTSPOOL, *_words(stdio, "--wait", "60", "--json")],
            env=dict(stdio.environment),
            cwd=stdio.folder,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        ) as sending,
    ):
        found: list[dict[str, object]] = []
        while not found:
            found = result(inside("list", "--query", stdio.topic, "--json"))["emails"]
        inside.until(str(found[0]["id"]), "deferred")
        stdio.sink.start()
        shown, _ = sending.communicate(timeout=PATIENCE * 2)
        stdio.sink.stop()
    assert sending.returncode == 0, shown
    assert '"status": "sent"' in shown


def test_send_does_not_wait_for_an_attempt_that_comes_later(stdio: Stage) -> None:
    done = outspool(stdio, *_words(stdio, "--wait", "25", to="defer-a@example.com"))
    assert done.returncode == 3
    assert "Not sent yet" in done.stdout


def test_an_email_for_a_moment_within_the_wait_is_sent_then(stdio: Stage) -> None:
    done = outspool(stdio, *_words(stdio, "--delay", "PT2S", "--wait", "25", "--json"))
    assert result(done)["status"] == "sent"
    assert done.returncode == 0


def test_a_preview_shows_the_email_and_neither_stores_nor_sends_it(stdio: Stage, inside: Inside) -> None:
    shown = outspool(stdio, *_words(stdio, "--cc", "bob@example.com", "--preview"))
    assert shown.returncode == 0
    for part in ("Preview: nothing was stored or sent.", "To: ada@example.com", "Cc: bob@example.com", "Good day."):
        assert part in shown.stdout
    assert result(inside(*_words(stdio, "--preview", "--json")))["status"] == "preview"
    assert result(inside("list", "--query", stdio.topic, "--json"))["emails"] == []
    assert not stdio.received()


def test_open_shows_the_html_with_its_pictures_in_the_browser_and_sends_nothing(stdio: Stage, tmp_path: Path) -> None:
    picture, note = tmp_path / "logo.png", tmp_path / "opened"
    picture.write_bytes(PICTURE)
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {note}.part && mv {note}.part {note}\n')
    browser.chmod(0o755)
    html = '<p>Hello</p><img src="cid:logo"><script>alert(1)</script>'
    words = ("--html", html, "--attach", str(picture), "--content-id", "logo", "--open")
    opened = outspool(stdio, *_words(stdio, *words), BROWSER=str(browser))
    assert opened.returncode == 0, opened
    url = note.read_text()
    assert url.startswith("file://")
    page = Path(url.removeprefix("file://"))
    assert page.parent.stat().st_mode & 0o077 == 0
    text = page.read_text()
    assert "<p>Hello</p>" in text
    assert f'src="data:image/png;base64,{base64.b64encode(PICTURE).decode()}"' in text
    assert "default-src 'none'" in text
    assert not stdio.received()


def test_without_a_browser_it_says_where_the_page_is(stdio: Stage) -> None:
    opened = outspool(stdio, *_words(stdio, "--open"), BROWSER="/nowhere/browser")
    assert opened.returncode == 0
    assert "preview.html" in opened.stderr


def test_a_picture_stands_where_its_content_id_is_named(stdio: Stage, tmp_path: Path) -> None:
    notes, picture = tmp_path / "notes.txt", tmp_path / "logo.png"
    notes.write_text("notes")
    picture.write_bytes(PICTURE)
    files = ("--attach", str(notes), "--attach", str(picture), "--content-id", "", "--content-id", "logo")
    sent = outspool(stdio, *_words(stdio, "--html", '<img src="cid:logo">', *files))
    assert sent.returncode == 0, sent
    [mail] = stdio.received()
    parts = {part.get_filename(): part for part in mail.parsed.walk() if part.get_filename()}
    assert parts["logo.png"]["Content-ID"] == "<logo>"
    assert parts["logo.png"].get_content_disposition() == "inline"
    assert parts["notes.txt"]["Content-ID"] is None


def test_everything_that_an_email_can_have_is_an_option(stdio: Stage) -> None:
    words = ("--reply-to", "desk@example.com", "--header", "X-Project: 42", "--in-reply-to", "<a@example.com>")
    sent = outspool(stdio, *_words(stdio, *words, "--reference", "<b@example.com>", "--priority", "high"))
    assert sent.returncode == 0, sent
    [mail] = stdio.received()
    assert (mail.parsed["Reply-To"], mail.parsed["X-Project"]) == ("desk@example.com", "42")
    assert mail.parsed["In-Reply-To"] == "<a@example.com>"
    assert "<b@example.com>" in mail.parsed["References"]


@pytest.mark.parametrize("command", ["attach", "migrate", "templates", "list", "backup"])
def test_json_is_one_object_on_stdout(inside: Inside, tmp_path: Path, command: str) -> None:
    file = tmp_path / "a.txt"
    file.write_text("a")
    arguments = {"attach": [str(file)], "backup": [str(tmp_path / "copy.db")]}.get(command, [])
    done = inside(command, *arguments, "--json")
    assert done.returncode == 0, done
    assert isinstance(result(done), dict)


def test_a_preview_warns_of_a_picture_without_its_file(stdio: Stage) -> None:
    done = outspool(
        stdio, "send", "--to", "a@example.com", "--subject", "s", "--html", "<img src='cid:logo'>", "--preview"
    )
    assert done.returncode == 0
    assert 'Note: html shows cid:"logo"' in done.stdout
