"""Addresses that exist although the strict grammar forbids them: on the wire, in the policy and in lists."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.quirky_smtp import QuirkySmtp
from support.variables import variables

from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.domain.status import EmailStatus
from outspool.errors import RecipientRefused
from outspool.services.acceptance.validation import EmailRequest

DOTTED = [
    ("abc..def@docomo.ne.jp", '"abc..def"@docomo.ne.jp'),
    ("abc.@docomo.ne.jp", '"abc."@docomo.ne.jp'),
    (".abc@ezweb.ne.jp", '".abc"@ezweb.ne.jp'),
    ('Abc <"a...b."@docomo.ne.jp>', '"a...b."@docomo.ne.jp'),
]


def app_for(server: QuirkySmtp, folder: Path, **more: object) -> Outspool:
    settings = variables(folder, None, "", SMTP_PORT=server.port, **more)
    return Outspool(Settings.load(settings))


@pytest.mark.parametrize(("written", "quoted"), DOTTED)
async def test_dots_that_the_grammar_forbids_go_out_quoted_in_header_and_envelope(
    tmp_path: Path, written: str, quoted: str
) -> None:
    async with QuirkySmtp(lambda _session, _line: None).listen() as server:
        app = app_for(server, tmp_path)
        async with app.run(worker=True):
            request = EmailRequest(to=[written, quoted], cc=[written], bcc=[quoted.upper()], subject="s", body="b")
            email = await app.outbox.accept(request)
            sent = await app.outbox.wait_for_outcome(email, max_wait=20)
            assert sent.status is EmailStatus.SENT
            commands = [line for session in server.sessions for line in session.commands]
            assert [line for line in commands if line.startswith("RCPT")] == [f"RCPT TO:<{quoted}>"]
            assert quoted.encode() in (await app.outbox.raw(str(email.id))).split(b"\r\nTo: ")[1].split(b"\r\n")[0]
            for spelling in (quoted, written.rpartition("<")[2].rstrip(">").upper()):
                assert [one.id for one in (await app.outbox.find(recipient=spelling)).emails] == [email.id]


@pytest.mark.parametrize(("written", "quoted"), DOTTED)
async def test_a_quoted_address_equals_itself_in_the_policy(tmp_path: Path, written: str, quoted: str) -> None:
    bare = written.rpartition("<")[2].rstrip(">")
    async with QuirkySmtp(lambda _session, _line: None).listen() as server:
        for rules, is_refused in (
            ({"EMAIL_DENIED_RECIPIENTS": bare.upper()}, True),
            ({"EMAIL_DENIED_RECIPIENTS": quoted}, True),
            ({"EMAIL_ALLOWED_RECIPIENTS": bare}, False),
        ):
            app = app_for(server, tmp_path / str(len(rules)), **rules)
            async with app.run(worker=False):
                request = EmailRequest(to=[written], subject="s", body="b")
                if is_refused:
                    with pytest.raises(RecipientRefused):
                        await app.outbox.accept(request)
                else:
                    assert (await app.outbox.accept(request)).recipients[0].address == quoted


async def test_the_domain_of_the_sender_may_be_one_of_an_internal_network(tmp_path: Path) -> None:
    async with QuirkySmtp(lambda _session, _line: None).listen() as server:
        app = app_for(server, tmp_path, EMAIL_FROM="Agent <agent@corp.local>")
        async with app.run(worker=True):
            email = await app.outbox.accept(EmailRequest(to=["bob@corp.local"], subject="s", body="b"))
            assert (await app.outbox.wait_for_outcome(email, max_wait=20)).status is EmailStatus.SENT
    assert "MAIL FROM:<agent@corp.local>" in " ".join(server.sessions[0].commands)
