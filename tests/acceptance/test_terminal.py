"""What a person sees in a terminal, and a program behind a pipe."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.command_line import PATIENCE, Inside, on_terminal, outspool, result
from support.stage import Stage

LONG_SUBJECT = "The quarterly numbers, and some more words than any terminal has room for " * 2


def _accept(inside: Inside, subject: str, *words: str) -> str:
    later = ("--delay", "P9D")
    to = ("--to", "grace.brewster.murray.hopper@navy.example.com", "--to", "b@example.com")
    accepted = inside(
        "send", *to, "--subject", subject, "--body", "x", *later, "--tag", inside.stage.topic, *words, "--json"
    )
    return str(result(accepted)["id"])


@pytest.mark.parametrize("width", [40, 72, 80, 120, 200])
def test_a_list_fits_the_terminal_and_shows_the_end_of_each_id(inside: Inside, width: int) -> None:
    email_id = _accept(inside, LONG_SUBJECT)
    _, shown = on_terminal(inside.stage, "list", "--tag", inside.stage.topic, width=width, TZ="Europe/Berlin")
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    [line] = [line for line in lines if email_id[-8:] in line]
    assert "scheduled" in line
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d CES?T", line)
    assert "grace" in shown
    assert "The quart" in shown


def test_a_pipe_gets_one_line_with_the_whole_id_however_wide_the_terminal_is(inside: Inside) -> None:
    email_id = _accept(inside, LONG_SUBJECT)
    words = ("list", "--tag", inside.stage.topic)
    narrow, wide = (outspool(inside.stage, *words, COLUMNS=columns).stdout for columns in ("40", "200"))
    assert narrow == wide
    [line] = narrow.splitlines()
    columns = line.split("\t")
    assert (columns[0], columns[1], columns[4].strip()) == (email_id, "scheduled", LONG_SUBJECT.strip())
    assert datetime.fromisoformat(columns[2]).tzinfo


def test_every_time_is_local_and_has_its_zone(inside: Inside) -> None:
    email_id = _accept(inside, "Times")
    zoned = {"TZ": "America/New_York"}
    for words in (("show", email_id), ("cancel", email_id)):
        shown = outspool(inside.stage, *words, **zoned).stdout
        assert not re.search(r"\d\d:\d\d(:\d\d)?(\.\d+)?Z", shown), shown
        assert re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?! E[SD]T|\d|\.)", shown) == []
    edited = outspool(inside.stage, "edit", _accept(inside, "Later"), "--subject", "Then", **zoned)
    assert re.search(r"Scheduled for [\d-]+ [\d:]+ E[SD]T, in ", edited.stdout), edited


def test_bare_send_asks_for_the_recipient_first_and_then_for_the_rest(stdio: Stage) -> None:
    typed = (("To", "ada@example.com\n"), ("Subject", f"{stdio.topic}\n"), ("Text", "Good day.\n\x04"))
    code, shown = on_terminal(stdio, "send", typed=typed)
    assert code == 0, shown
    [mail] = stdio.received()
    assert mail.recipients == ("ada@example.com",)
    assert mail.parsed.get_content().strip() == "Good day."


def test_send_asks_for_the_text_alone_when_the_rest_is_given(stdio: Stage) -> None:
    words = ("send", "--to", "ada@example.com", "--subject", stdio.topic)
    code, shown = on_terminal(stdio, *words, typed=(("Text", "Good day.\n\x04"),))
    assert code == 0, shown
    assert "To:" not in shown
    [mail] = stdio.received()
    assert mail.parsed.get_content().strip() == "Good day."


@pytest.mark.parametrize("words", [(), ("--subject", "x", "--body", "y")])
def test_without_a_terminal_send_names_to_as_what_is_missing(stdio: Stage, words: tuple[str, ...]) -> None:
    refused = outspool(stdio, "send", *words)
    assert refused.returncode == 2
    assert "--to" in refused.stderr
    assert "--body" not in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("outspool se", "send"), ("outspool list --st", "--status"), ("outspool list --status defer", "deferred")],
)
def test_bash_completes_commands_options_and_statuses(stdio: Stage, tmp_path: Path, typed: str, offered: str) -> None:
    if (bash := shutil.which("bash")) is None:
        pytest.skip("there is no bash here")
    (tmp_path / "outspool").symlink_to(Path(sys.executable).parent / "outspool")
    *_, last = words = typed.split()
    script = f"""
        eval "$(outspool --show-completion)"
        COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}
        _outspool_completion outspool {last} && printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{tmp_path}:{stdio.environment['PATH']}"
    done = subprocess.run(
        [bash, "--norc", "-c", script],
        env={**stdio.environment, "PATH": path},
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert offered in done.stdout.split(), done


def test_a_time_without_a_zone_is_on_this_machines_clocks(stdio: Stage) -> None:
    day = (datetime.now(UTC) + timedelta(days=30)).date()
    words = ("send", "--to", "a@example.com", "--subject", stdio.topic, "--body", "x", "--at", f"{day} 09:00", "--json")
    tokyo = result(outspool(stdio, *words, TZ="Asia/Tokyo"))
    assert tokyo["scheduled_at"] == f"{day}T00:00:00Z"
    named = result(outspool(stdio, *words, "--timezone", "Asia/Kolkata", TZ="Asia/Tokyo"))
    assert named["scheduled_at"] == f"{day}T03:30:00Z"
    odd = result(outspool(stdio, *words, TZ="XYZ-3"))
    assert odd["scheduled_at"] == f"{day}T06:00:00Z"


def test_a_series_recurs_on_this_machines_clocks(stdio: Stage) -> None:
    words = ("send", "--to", "a@example.com", "--subject", stdio.topic, "--body", "x", "--recurrence", "0 9 * * mon")
    series = result(outspool(stdio, *words, "--json", TZ="Asia/Tokyo"))
    assert series["recurrence"]["timezone"] == "Asia/Tokyo"
    assert series["scheduled_at"].endswith("T00:00:00Z")


def test_an_hour_that_the_clocks_skip_is_refused_and_not_guessed(stdio: Stage) -> None:
    year = datetime.now(UTC).year + (1 if datetime.now(UTC).month > 3 else 0)
    skipped = next(d for d in range(31, 24, -1) if datetime(year, 3, d, tzinfo=UTC).isoweekday() == 7)
    words = (
        "send",
        "--to",
        "a@example.com",
        "--subject",
        stdio.topic,
        "--body",
        "x",
        "--at",
        f"{year}-03-{skipped} 02:30",
    )
    refused = outspool(stdio, *words, TZ="Europe/Berlin")
    assert refused.returncode == 1
    assert "does not exist in Europe/Berlin" in refused.stderr


def test_a_wrong_recipient_is_asked_for_again_before_anything_else_is_typed(stdio: Stage) -> None:
    typed = (
        ("To", "ada\n"),
        ("To", "ada@example.com, bob@example.com\n"),
        ("Subject", f"{stdio.topic}\n"),
        ("Text", "Good day.\n\x04"),
    )
    code, shown = on_terminal(stdio, "send", typed=typed)
    assert code == 0, shown
    assert "Error: " in shown
    [mail] = stdio.received()
    assert set(mail.recipients) == {"ada@example.com", "bob@example.com"}
