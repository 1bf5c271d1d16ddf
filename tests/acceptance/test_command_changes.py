"""`outspool edit` and `outspool resolve`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from support.command_line import Inside, outspool, result
from support.stage import Stage


def _scheduled(inside: Inside, *words: str) -> str:
    message = ("--to", "ada@example.com", "--subject", inside.stage.topic, "--body", "Old.", "--delay", "P9D")
    return str(result(inside("send", *message, *words, "--json"))["id"])


def _doubtful(inside: Inside, *recipients: str) -> str:
    to = [word for address in recipients or ("dropdot-a@example.com",) for word in ("--to", address)]
    email = result(inside("send", *to, "--subject", inside.stage.topic, "--body", "x", "--json"))
    assert email["status"] == "unknown", email
    return str(email["id"])


def test_edit_changes_what_is_given_and_leaves_the_rest(inside: Inside) -> None:
    email_id = _scheduled(inside, "--cc", "bob@example.com", "--tag", "old")
    edited = inside("edit", email_id, "--subject", "New", "--to", "eve@example.com")
    assert edited.returncode == 0, edited
    assert edited.stdout.startswith("Changed: --to, --subject. Scheduled for ") or edited.stdout.startswith(
        "Changed: --subject, --to. Scheduled for "
    )
    email = result(inside("show", email_id, "--json"))
    assert (email["subject"], email["to"], email["cc"]) == ("New", ["eve@example.com"], ["bob@example.com"])
    [event] = [event for event in email["events"] if event["code"] == "updated"]
    assert event["by"] == "local (command line)"


def test_an_empty_value_clears_and_the_answer_says_so(inside: Inside) -> None:
    email_id = _scheduled(inside, "--cc", "bob@example.com", "--header", "X-A:1")
    cleared = inside("edit", email_id, "--cc", "", "--header", "")
    assert "Cleared: " in cleared.stdout
    assert "--cc" in cleared.stdout
    email = result(inside("show", email_id, "--json"))
    assert "cc" not in email
    assert email["to"] == ["ada@example.com"]


def test_edit_moves_an_email_to_a_time_on_this_machines_clocks(inside: Inside) -> None:
    email_id = _scheduled(inside)
    day = (datetime.now(UTC) + timedelta(days=30)).date()
    moved = result(outspool(inside.stage, "edit", email_id, "--at", f"{day} 09:00", "--json", TZ="Asia/Tokyo"))
    assert moved["scheduled_at"] == f"{day}T00:00:00Z"


def test_edit_attaches_other_files(inside: Inside) -> None:
    (inside.stage.folder / "new.txt").write_text("new")
    email_id = _scheduled(inside)
    edited = result(inside("edit", email_id, "--attach", "new.txt", "--json"))
    assert [file["filename"] for file in edited["attachments"]] == ["new.txt"]
    assert "attachments" not in result(inside("edit", email_id, "--attach", "", "--json"))


def test_edit_changes_and_ends_a_series(inside: Inside) -> None:
    series = _scheduled(inside, "--recurrence", "0 9 * * mon", "--timezone", "Europe/Berlin", "--count", "9")
    edited = result(inside("edit", series, "--recurrence", "0 8 * * tue", "--count", "0", "--json"))
    assert edited["recurrence"]["recurrence"] == "0 8 * * tue"
    assert edited["recurrence"]["timezone"] == "Europe/Berlin"
    assert "count" not in edited["recurrence"]


def test_an_email_that_was_sent_cannot_be_edited(inside: Inside) -> None:
    sent = result(inside("send", "--to", "a@example.com", "--subject", inside.stage.topic, "--body", "x", "--json"))
    refused = inside("edit", sent["id"], "--subject", "Too late")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: wrong_state: ")


def test_a_doubtful_email_is_resolved_as_sent_and_says_who_said_so(inside: Inside) -> None:
    email_id = _doubtful(inside)
    resolved = inside("resolve", email_id, "--as", "sent")
    assert resolved.returncode == 0, resolved
    assert "Sent: The operator says that it was sent" in resolved.stdout
    assert "mail server took it" not in resolved.stdout
    email = result(inside("show", email_id, "--json"))
    assert email["status"] == "sent"
    assert [recipient["status"] for recipient in email["recipients"]] == ["sent"]
    last = email["events"][-1]
    assert (last["status"], last["code"], last["by"]) == ("sent", "resolved", "local (command line)")
    assert inside("retry", email_id).returncode == 1


def test_a_doubtful_email_is_resolved_as_canceled_and_is_never_sent(inside: Inside) -> None:
    email_id = _doubtful(inside)
    resolved = inside("resolve", email_id, "--as", "canceled")
    assert "Canceled: The operator says that it was not sent. It never will be." in resolved.stdout
    email = result(inside("show", email_id, "--json"))
    assert (email["status"], email["events"][-1]["code"]) == ("canceled", "resolved")
    assert inside("retry", email_id).returncode == 1


@pytest.mark.parametrize("outcome", ["sent", "canceled"])
def test_recipients_whose_outcome_is_known_keep_it(inside: Inside, outcome: str) -> None:
    email_id = _doubtful(inside, "dropdot-a@example.com", "refuse-b@example.com")
    resolved = result(inside("resolve", email_id, "--as", outcome, "--json"))
    statuses = {recipient["address"]: recipient["status"] for recipient in resolved["recipients"]}
    assert statuses["refuse-b@example.com"] == "failed"
    assert resolved["status"] == {"sent": "partial", "canceled": "canceled"}[outcome]


@pytest.mark.parametrize("words", [(), ("--as", "failed"), ("--as", "")])
def test_resolve_needs_one_of_two_outcomes(stdio: Stage, words: tuple[str, ...]) -> None:
    assert outspool(stdio, "resolve", "ffffffff", *words).returncode == 2


@pytest.mark.parametrize("status", ["scheduled", "sent"])
def test_only_a_doubtful_email_is_resolved(inside: Inside, status: str) -> None:
    later = ("--delay", "P9D") if status == "scheduled" else ()
    message = ("--to", "a@example.com", "--subject", inside.stage.topic, "--body", "x", *later)
    email_id = result(inside("send", *message, "--json"))["id"]
    assert "error: wrong_state: " in inside("resolve", email_id, "--as", "sent").stderr
    assert result(inside("show", email_id, "--json"))["status"] == status
