"""Templates and previews end to end: accepted, shown and delivered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.stage import Stage

REPORT: dict[str, Any] = {
    "title": "Weekly <sales>",
    "summary": "Up by 12 %.",
    "figures": [{"label": "Orders", "value": 1204}],
    "columns": ["Region", "Orders"],
    "rows": [["North", 512], ["Süd", 301]],
    "button_url": "https://example.com/r?a=1&b=2",
}


def with_template(stage: Stage, **more: Any) -> dict[str, Any]:
    """Return the arguments of an email written from a template, which `received` can find by its subject."""
    asked = {name: value for name, value in stage.message(**more).items() if name != "body"}
    return {"template": "report", "variables": REPORT, **asked}


async def test_an_email_is_written_from_a_template_and_arrives_as_both_text_and_html(far_apart: Stage) -> None:
    async with far_apart.session() as session:
        email = await session.call("send_email", **with_template(far_apart))
    assert email["status"] == "sent", email
    [mail] = far_apart.received()
    assert mail.parsed["Subject"] == far_apart.topic
    text, html = mail.parsed.get_body(("plain",)), mail.parsed.get_body(("html",))
    assert text is not None
    assert html is not None
    assert "Süd | 301" in text.get_content()
    page = html.get_content()
    assert page.startswith("<!DOCTYPE html>")
    assert "Weekly &lt;sales&gt;" in page
    assert 'align="right"' in page
    assert "@media (prefers-color-scheme: dark)" in page
    assert 'href="https://example.com/r?a=1&amp;b=2"' in page
    assert max(map(len, mail.raw.splitlines())) <= 998


async def test_the_templates_are_listed_with_what_they_need(served: Stage) -> None:
    async with served.session() as session:
        listed = await session.call("list_templates")
    report = next(template for template in listed["templates"] if template["name"] == "report")
    assert report["required"] == ["summary", "title"]
    assert report["defaults"]["rows"] == []
    assert "figures [{label, value, change}]" in report["description"]


async def test_a_preview_shows_what_would_go_out_and_stores_and_sends_nothing(served: Stage) -> None:
    asked = with_template(served, cc="Bob <bob@example.com>", bcc=["eve@example.com"])
    async with served.session() as session:
        now = await session.call("send_email", **asked, preview=True, idempotency_key=served.topic)
        later = await session.call("schedule_email", **asked, delay="PT2H", preview=True)
        assert (await session.call("list_emails", query=served.topic))["emails"] == []
        sent = await session.call("send_email", **asked, idempotency_key=served.topic)
    assert now["status"] == later["status"] == "preview"
    assert "id" not in now
    assert now["summary"].startswith("Preview: nothing was stored or sent. It would leave at once, for 3 recipients, ")
    assert "in 2 h" in later["summary"]
    assert (now["to"], now["cc"], now["bcc"]) == (
        ["ada@example.com"],
        ["Bob <bob@example.com>"],
        ["eve@example.com"],
    )
    assert (now["subject"], now["from"]) == (served.topic, "Outspool Test <me@example.com>")
    assert sent["status"] == "sent"
    [mail] = served.received()
    assert now["size"] == len(mail.raw)
    text, html = mail.parsed.get_body(("plain",)), mail.parsed.get_body(("html",))
    assert text is not None
    assert html is not None
    assert now["text"] == text.get_content().replace("\r\n", "\n")
    assert now["html"] == html.get_content().replace("\r\n", "\n")


async def test_a_preview_of_html_alone_shows_the_text_that_is_made_from_it_and_needs_no_account(stdio: Stage) -> None:
    asked = stdio.message(body=None, html="<p>Good <b>day</b></p>", preview="true")
    async with stdio.session(SMTP_HOST="", SMTP_PORT="") as session:
        shown = await session.call("send_email", **asked)
    assert shown["text"] == "Good **day**\n"


async def test_a_preview_refuses_what_would_be_refused(served: Stage) -> None:
    async with served.session() as session:
        for code, wrong in (
            ("invalid_address", {"to": "ada"}),
            ("invalid_argument", {"body": None}),
            ("template_error", {"body": None, "template": "reprot"}),
            ("template_error", {"body": None, "template": "report"}),
            ("invalid_argument", {"template": "report", "variables": REPORT}),
            ("invalid_argument", {"variables": REPORT}),
        ):
            refused = await session.refused("send_email", **{**served.message(preview=True), **wrong})
            assert refused.startswith(f"{code}: ")
        late = await session.refused("schedule_email", **served.message(preview=True))
    assert late.startswith("invalid_schedule: ")


async def test_what_a_template_gets_wrong_is_named_and_nothing_is_stored(served: Stage) -> None:
    async with served.session() as session:
        for variables, said in (
            ({"title": "x"}, 'The template "report" needs the variable summary.'),
            ({**REPORT, "colums": []}, 'The template "report" has no variable "colums". Did you mean "columns"?'),
            ({**REPORT, "button_url": "javascript:x"}, '"javascript:x" is no address to link to.'),
            ({**REPORT, "title": "a\x00b"}, "control character U+0000"),
            ({**REPORT, "figures": [{}]}, "'dict object' has no attribute 'label'."),
        ):
            refused = await session.refused("send_email", **with_template(served) | {"variables": variables})
            assert said in refused
            assert refused.isprintable()
        hostile = with_template(served) | {"variables": {**REPORT, "title": f"{served.topic}\r\nBcc: eve@example.com"}}
        del hostile["subject"]
        assert (await session.refused("send_email", **hostile)).startswith("invalid_argument: subject holds a line")
        assert (await session.call("list_emails", query=served.topic))["emails"] == []
    assert not served.received()


async def test_what_was_accepted_is_frozen_and_the_same_key_finds_it_whatever_became_of_the_template(
    stdio: Stage, tmp_path: Path
) -> None:
    template = tmp_path / "order.txt"
    asked = {**stdio.message(), "template": "order", "variables": {"number": 7}, "idempotency_key": stdio.topic}
    del asked["body"]
    async with stdio.session(EMAIL_TEMPLATE_DIR=str(tmp_path)) as session:
        template.write_text("Order {{ number }}, as first written.")
        first = await session.call("schedule_email", **asked, delay="PT1H")
        template.write_text("Changed: {{ number }}")
        assert (await session.call("schedule_email", **asked, delay="PT1H"))["id"] == first["id"]
        template.write_text("{% broken")
        assert (await session.call("schedule_email", **asked, delay="PT1H"))["id"] == first["id"]
        template.unlink()
        assert (await session.call("schedule_email", **asked, delay="PT1H"))["id"] == first["id"]
        other = asked | {"variables": {"number": 8}}
        assert (await session.refused("schedule_email", **other, delay="PT1H")).startswith("template_error: ")
        template.write_text("Order {{ number }}")
        assert (await session.refused("schedule_email", **other, delay="PT1H")).startswith("idempotency_conflict: ")
        await session.call("update_email", email_id=first["id"], delay="PT1S")
        await session.until(first["id"], "sent")
    [mail] = stdio.received()
    assert mail.parsed.get_content().strip() == "Order 7, as first written."


async def test_a_template_of_the_operator_hides_a_shipped_one_of_the_same_name(served: Stage) -> None:
    folder = Path(served.environment["OUTSPOOL_DATA_DIR"]) / "templates"
    folder.mkdir(parents=True)
    mine = folder / "notification.txt"
    mine.write_text("Mine: {{ message }}")
    try:
        async with served.session() as session:
            asked = served.message(body=None, template="notification", variables={"message": "Hi"}, preview=True)
            shown = await session.call("send_email", **asked)
    finally:
        mine.unlink()
    assert shown["text"] == "Mine: Hi"
    assert "html" not in shown
