"""Short ids: the end of an id stands for the whole at a terminal, as long as no other email has it."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from itertools import count
from uuid import UUID

import pytest
import sqlalchemy as sa
from support.command_line import Inside, outspool, result

from outspool.adapters.sql.database import Database
from outspool.adapters.sql.tables import emails, events, recipients

_TWINS = count(0xABCD0000)


def _accept(inside: Inside, *words: str) -> str:
    message = ("--to", "a@example.com", "--subject", inside.stage.topic, "--body", "x", "--delay", "P9D")
    return str(result(inside("send", *message, *words, "--json"))["id"])


@pytest.mark.parametrize("length", [6, 8, 12, 31])
def test_the_end_of_an_id_is_enough(inside: Inside, length: int) -> None:
    email_id = _accept(inside)
    assert result(inside("show", email_id.replace("-", "")[-length:], "--json"))["id"] == email_id


@pytest.mark.parametrize("form", ["{}", "…{}", " {} ", "-{}"])
def test_an_end_is_known_however_it_was_copied(inside: Inside, form: str) -> None:
    email_id = _accept(inside)
    end = form.format(email_id[-8:].upper())
    assert result(inside("show", "--json", "--", end))["id"] == email_id


def test_every_command_that_takes_an_id_takes_its_end(inside: Inside) -> None:
    email_id = _accept(inside)
    end = email_id[-8:]
    assert result(inside("edit", end, "--subject", "Other", "--json"))["subject"] == "Other"
    assert result(inside("cancel", end, "--json"))["id"] == email_id
    assert "wrong_state" in inside("retry", end).stderr
    assert "wrong_state" in inside("resolve", end, "--as", "sent").stderr
    series = _accept(inside, "--recurrence", "0 9 * * mon", "--timezone", "Europe/Berlin")
    end = series[-8:]
    assert result(inside("pause", end, "--json"))["status"] == "paused"
    assert result(inside("resume", end, "--json"))["status"] == "recurring"
    assert inside("list", "--series", end).returncode == 0


@pytest.fixture
def twins(inside: Inside) -> tuple[str, str]:
    """Return the ids of two emails that end alike."""
    ids = (_accept(inside), _accept(inside))
    tail = f"{next(_TWINS):08x}"
    wanted = tuple(f"{old[:-12]}{place:04x}{tail}" for place, old in enumerate(ids, start=0x1000))
    asyncio.run(_rename_all(inside.stage.environment["DATABASE_URL"], dict(zip(ids, wanted, strict=True))))
    return wanted[0], wanted[1]


async def _rename_all(url: str, names: dict[str, str]) -> None:
    async with Database(url).open_until_exit() as database:
        for old, new in names.items():
            await database.write(partial(_rename, old=UUID(old), new=UUID(new)))


def _rename(connection: sa.Connection, old: UUID, new: UUID) -> None:
    connection.execute(sa.text("PRAGMA defer_foreign_keys = ON"))
    for column in (emails.c.id, recipients.c.email_id, events.c.email_id):
        connection.execute(sa.update(column.table).where(column == old).values({column.name: new}))


def test_an_end_of_several_ids_names_what_tells_them_apart_and_changes_nothing(
    inside: Inside, twins: tuple[str, str]
) -> None:
    refused = inside("cancel", twins[0][-8:])
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: invalid_argument: ")
    named = re.findall(r"\b[0-9a-f]{9,} \(", refused.stderr)
    assert len(named) == 2
    assert inside.stage.topic in refused.stderr
    ends = [text.removesuffix(" (") for text in named]
    assert {result(inside("show", end, "--json"))["id"] for end in ends} == set(twins)
    assert {result(inside("show", each, "--json"))["status"] for each in twins} == {"scheduled"}


@pytest.mark.parametrize("word", ["a", "123", "zzzzzzzz", "", "%%%%", "____", "0" * 33, "show me"])
def test_what_cannot_be_the_end_of_an_id_is_refused_with_where_to_find_one(inside: Inside, word: str) -> None:
    refused = inside("show", word)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: invalid_argument: ")
    assert "`outspool list`" in refused.stderr


def test_an_end_that_no_email_has_is_not_found(inside: Inside) -> None:
    refused = outspool(inside.stage, "show", "fffffffffffe")
    assert refused.stderr.startswith("error: not_found: ")
    assert "`outspool list`" in refused.stderr
