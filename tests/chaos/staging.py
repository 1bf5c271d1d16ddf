"""Sets up a trial: database, clocks, SMTP server, proxies and processes, none of them working yet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chaos.cast import Actor
from chaos.forked_sink import PASSWORD, USERNAME, ForkedSink
from chaos.place import Place
from chaos.scenario import SPEED, Peril, Scenario, as_plan
from chaos.strikes import Scene
from chaos.tempo import Tempo, stretch
from support.fast_clock import ClockDial
from support.tcp_proxy import TcpProxy

_NO_LIMIT = 1_000_000


@asynccontextmanager
async def staged(scenario: Scenario, place: Place, folder: Path) -> AsyncIterator[Scene]:
    """Yield the scene; at the end nothing of it runs or stays open."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        url = await enter(place.database(scenario.database, folder, is_migrated=scenario.is_migrated))
        sink_folder = folder / "smtp"
        sink_folder.mkdir()
        sink = ForkedSink(sink_folder, place.zygote, certificate=place.certificate, security=scenario.security)
        await sink.live()
        stack.push_async_callback(sink.die)
        tempo = Tempo(stretch())
        dial = stack.enter_context(ClockDial(folder / "clock", speed=SPEED / tempo.stretch))
        scene = Scene(
            folder=folder,
            database_url=url,
            dial=dial,
            sink=sink,
            postgres=place.postgres,
            smtp_line=await enter(TcpProxy(sink.port)),
            database_line=await enter(TcpProxy(urlsplit(url).port or 0)) if place.postgres else None,
            tempo=tempo,
            started=dial.now(),
        )
        stack.push_async_callback(_clear, scene)
        scene.actors.update((actor.name, actor) for actor in _actors(scenario, place, scene))
        yield scene


async def _clear(scene: Scene) -> None:
    for actor in scene.actors.values():
        if actor.child is not None:
            await actor.child.kill()


def _actors(scenario: Scenario, place: Place, scene: Scene) -> Iterator[Actor]:
    """Make every process of the scenario; each has a clock of its own to be set wrong."""
    for number, connections in enumerate(scenario.workers):
        given = _given(scenario, place, scene, connections) | {"hand": 1 + number, "sabotage": scenario.sabotage}
        yield _actor(f"worker {number}", place, scene, given, connections)
    for number, accepter in enumerate(scenario.accepters):
        given = _given(scenario, place, scene, accepter.connections or 1) | {
            "hand": 1 + len(scenario.workers) + number,
            "sabotage": scenario.sabotage,
            "connections": accepter.connections,
            "plan": as_plan(accepter.callers),
            "journal": str(scene.folder / f"journal-{number}"),
        }
        yield _actor(f"accepter {number}", place, scene, given, accepter.connections)


def _actor(name: str, place: Place, scene: Scene, given: dict[str, Any], connections: int) -> Actor:
    role = name.partition(" ")[0]
    log = scene.folder / f"{name.replace(' ', '-')}.log"
    return Actor(
        name=name, role=role, zygote=place.zygote, given=given, log=log, tempo=scene.tempo, connections=connections
    )


def _given(scenario: Scenario, place: Place, scene: Scene, connections: int) -> dict[str, Any]:
    """Return the environment of a process: by way of a proxy where the scenario spoils that line."""
    url = scene.database_url
    if Peril.DATABASE_LINE in scenario.perils and scene.database_line:
        url = _moved(url, scene.database_line.port)
    smtp_port = scene.smtp_line.port if Peril.SMTP_LINE in scenario.perils else scene.sink.port
    login = {"SMTP_USERNAME": USERNAME, "SMTP_PASSWORD": PASSWORD} if scenario.security != "none" else {}
    environment = {
        "DATABASE_URL": url,
        "OUTSPOOL_DATA_DIR": str(scene.folder / "data"),
        "SMTP_HOST": scene.sink.host,
        "SMTP_PORT": str(smtp_port),
        "SMTP_SECURITY": scenario.security,
        "SMTP_CONNECTIONS": str(connections),
        "SSL_CERT_FILE": str(place.authority),
        "EMAIL_FROM": "me@example.com",
        "EMAIL_RATE_LIMIT_PER_HOUR": str(scenario.rate_limit or _NO_LIMIT),
        **login,
        **scenario.settings,
    }
    return {"environment": environment, "dial": str(scene.dial.path), "tempo": asdict(scene.tempo)}


def _moved(url: str, port: int) -> str:
    """Return a database's URL with another port: that of a proxy."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}").geturl()
