"""The command line speaks of commands and options, never of tools and arguments."""

from __future__ import annotations

import re

import pytest
from support.command_line import Inside, outspool, result
from support.stage import Stage

from outspool.cli.words import COMMANDS, OPTIONS

TOOL = re.compile(rf"\b({'|'.join(COMMANDS)})\b")
ARGUMENT = re.compile(r"(?<![\w-])[a-z]+_[a-z_]+(?![\w:])|`[a-z]+`|(?<![\w-])(?:to|b?cc|headers|tags|body|html)(?=: )")
CODE = re.compile(r"^error: [a-z_]+: ")
MAIL = ("--to", "a@example.com", "--subject", "s", "--body", "b")

WRONG = {
    "an unknown template": ("--to", "a@example.com", "--template", "zz"),
    "a template's missing variables": ("--to", "a@example.com", "--template", "notification"),
    "variables without a template": (*MAIL, "--variables", "{}x"),
    "a template beside a body": (*MAIL, "--template", "notification"),
    "no text": ("--to", "a@example.com", "--subject", "s"),
    "nothing but blanks": ("--to", "a@example.com", "--body", " "),
    "a wrong address": (*MAIL, "--cc", "nobody"),
    "a wrong answer address": (*MAIL, "--reply-to", "nobody"),
    "another sender": (*MAIL, "--from", "eve@example.net"),
    "two times": (*MAIL, "--at", "2030-01-01 09:00", "--delay", "PT1H"),
    "a time in words": (*MAIL, "--at", "tomorrow"),
    "a day without a time": (*MAIL, "--at", "2030-01-01"),
    "a time that is past": (*MAIL, "--at", "2020-01-01 09:00"),
    "a time that is far": (*MAIL, "--at", "2190-01-01 09:00"),
    "a zone alone": (*MAIL, "--timezone", "Europe/Berlin"),
    "a zone that is none": (*MAIL, "--at", "2030-01-01 09:00", "--timezone", "Atlantis"),
    "a delay in words": (*MAIL, "--delay", "soon"),
    "no delay": (*MAIL, "--delay", "PT0S"),
    "an end without a series": (*MAIL, "--until", "2030-01-01"),
    "a count without a series": (*MAIL, "--count", "3"),
    "a wrong series": (*MAIL, "--recurrence", "every day"),
    "a count of nothing": (*MAIL, "--recurrence", "0 9 * * *", "--count", "0"),
    "a file that is not there": (*MAIL, "--attach", "/nowhere/a.pdf"),
    "a hidden file": (*MAIL, "--attach", ".secret"),
    "a folder": (*MAIL, "--attach", "/"),
    "a wrong content id": (*MAIL, "--attach", "a.txt", "--content-id", "a b"),
    "more content ids than files": (*MAIL, "--content-id", "logo"),
    "a wrong header": (*MAIL, "--header", "Subject: x"),
    "a header without a colon": (*MAIL, "--header", "X-Nothing"),
    "a wrong tag": (*MAIL, "--tag", "a b"),
    "a wrong priority": (*MAIL, "--priority", "urgent"),
    "a wrong key": (*MAIL, "--key", "ä"),
    "a wrong thread": (*MAIL, "--in-reply-to", "a b"),
    "several wrong things": ("--to", "bad", "--cc", "worse", "--template", "zz", "--delay", "soon", "--tag", "a b"),
    "a wrong reference": (*MAIL, "--reference", "a b c <"),
}


def _check(complaint: str) -> None:
    assert CODE.match(complaint), complaint
    spoken = re.sub(r'"[^"]*"', "", CODE.sub("", complaint))
    assert not TOOL.search(spoken), complaint
    assert not ARGUMENT.search(spoken), complaint


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_send_is_refused_in_the_words_of_the_command_line(inside: Inside, case: str) -> None:
    (inside.stage.folder / ".secret").touch()
    (inside.stage.folder / "a.txt").write_text("a")
    refused = inside("send", *WRONG[case])
    assert refused.returncode == 1, refused
    _check(refused.stderr)


def test_other_commands_are_refused_in_the_words_of_the_command_line(inside: Inside) -> None:
    sent = result(
        inside("send", "--to", "data550-a@example.com", "--subject", inside.stage.topic, "--body", "x", "--json")
    )
    single = result(inside("send", *MAIL, "--delay", "P9D", "--json"))["id"]
    for words in (
        ("show", "1"),
        ("show", "ffffffffffff"),
        ("list", "--status", "gone"),
        ("list", "--cursor", "zz"),
        ("list", "--series", "zz"),
        ("cancel", sent["id"]),
        ("edit", sent["id"], "--subject", "x"),
        ("edit", single),
        ("edit", single, "--count", "3"),
        ("edit", single, "--to", ""),
        ("edit", single, "--timezone", "Europe/Berlin"),
        ("pause", single),
        ("resolve", single, "--as", "sent"),
        ("attach", "/nowhere/a.pdf"),
    ):
        refused = inside(*words)
        assert refused.returncode == 1, (words, refused)
        _check(refused.stderr)


def test_what_is_shown_of_an_email_names_commands(inside: Inside) -> None:
    doubtful = result(
        inside("send", "--to", "dropdot-a@example.com", "--subject", inside.stage.topic, "--body", "x", "--json")
    )
    assert doubtful["status"] == "unknown"
    for words in (("show", doubtful["id"]), ("list", "--query", inside.stage.topic)):
        shown = inside(*words).stdout
        assert not TOOL.search(shown), shown
    assert "`outspool retry`" in inside("show", doubtful["id"]).stdout


def test_an_unknown_option_is_wrong_usage(stdio: Stage) -> None:
    refused = outspool(stdio, "send", "--recipient", "a@example.com")
    assert refused.returncode == 2
    assert "No such option" in refused.stderr


def test_quoted_words_stay_as_they_were_typed(inside: Inside) -> None:
    refused = inside("send", "--to", "a@example.com", "--template", "list_emails, body and html")
    assert '"list_emails, body and html"' in refused.stderr


def test_the_help_of_every_option_exists(stdio: Stage) -> None:
    helped = " ".join(outspool(stdio, command, "--help", COLUMNS="200").stdout for command in ("send", "edit", "list"))
    assert [option for option in {*OPTIONS.values()} - {"ID"} if option not in helped] == []
