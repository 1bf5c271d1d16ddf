"""Every transport speaks both versions of the protocol, as the tests of the main job assume."""

from __future__ import annotations

from support.stage import Stage

MODERN = "2026-07-28"


async def test_the_era_asked_for_is_the_era_spoken(stage: Stage) -> None:
    async with stage.session() as session:
        version = session.client.protocol_version
        assert len((await session.client.list_tools()).tools) == 9
    if stage.era == "auto":
        assert version == MODERN
    else:
        assert version < MODERN
