"""Generates a scenario from a seed; the same seed always gives the same scenario, on every machine."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from typing import Any

from chaos.scenario import LEASE_SECONDS, SPEED, Accepter, Fault, Peril, Scenario, Step

LAST_STRIKE = 2.6
"""Seconds after the beginning during which faults begin; the load lies within them too."""

_LEASE = LEASE_SECONDS / SPEED
_NOTHING_SPECIAL = ""
_LOCAL_PARTS = (
    # what the sink makes of a recipient whose address begins so, and how often we ask for it
    (_NOTHING_SPECIAL, 78),
    ("once-", 5),
    ("refuse-", 4),
    ("defer-", 2),
    ("full-", 1),
    ("droprcpt-", 1),
    ("dropdata-", 1),
    ("data550-", 2),
    ("data451-", 2),
    ("dropdot-", 1),
    ("takedrop-", 1),
    ("slow-", 1),
)
_TRANSIENT = (
    "421 4.3.2 Closing",
    "450 4.3.0 Not now",
    "451 4.3.0 Local error",
    "drop",
    "reset",
    "stall 0.8",
    "wait 0.4",
)
_STEP_FAULTS = {
    "greeting": ("421 4.3.2 Too busy", "554 5.3.2 No service", "drop", "reset", "stall 0.8", "wait 0.4"),
    "ehlo": ("421 4.3.2 Closing", "drop", "reset", "stall 0.8"),
    "starttls": ("454 4.7.0 TLS not available", "drop", "reset", "stall 0.8"),
    "auth": ("535 5.7.8 Bad credentials", "454 4.7.0 Temporary failure", "421 4.7.0 Slow down", "drop", "stall 0.8"),
    "mail": (*_TRANSIENT, "421 4.7.0 Slow down", "550 5.4.5 Daily limit reached"),
    "rcpt": (*_TRANSIENT, "550 5.1.1 Unknown", "452 4.2.2 Full"),
    "data": (*_TRANSIENT, "554 5.6.0 No"),
    "message": (*_TRANSIENT, "554 5.7.1 Spam", "552 5.3.4 Too big"),
    "taken": ("drop", "reset", "stall 0.8", "wait 0.4"),
}


def scenario(seed: int, *, database: str = "both") -> Scenario:
    """Return the scenario of `seed`, on ``sqlite``, ``postgres``, or whichever the seed picks."""
    return _Generator(seed, database).scenario()


def is_harmless(address: str) -> bool:
    """Whether the SMTP server takes mail for `address` without further ado."""
    return not address.startswith(tuple(prefix for prefix, _ in _LOCAL_PARTS if prefix))


class _Generator:
    def __init__(self, seed: int, database: str) -> None:
        self._random = random.Random(seed)
        self._seed = seed
        picked = self._random.choice(("sqlite", "postgres"))
        self._database = picked if database == "both" else database
        self._numbers = count(1)

    def scenario(self) -> Scenario:
        chance = self._random
        workers = tuple(chance.randint(1, 4) for _ in range(chance.choice((1, 1, 2, 2, 2, 3))))
        security = chance.choice(("none", "none", "none", "starttls"))
        rate_limit = chance.randint(5, 20) if chance.random() < 0.12 else None
        accepters = tuple(self._accepters(are_raced=rate_limit is not None))
        perils = self._perils(clock_may_jump=rate_limit is None)
        names = [f"worker {n}" for n in range(len(workers))] + [f"accepter {n}" for n in range(len(accepters))]
        return Scenario(
            seed=self._seed,
            database=self._database,
            security=security,
            workers=workers,
            accepters=accepters,
            faults=tuple(sorted((self._fault(p, names, security) for p in perils), key=lambda fault: fault.at)),
            settings=self._settings(),
            rate_limit=rate_limit,
            is_migrated=chance.random() > 0.05,
        )

    def _settings(self) -> dict[str, str]:
        chance = self._random
        settings = {"EMAIL_BATCH_SIZE": str(chance.choice((1, 3, 10, 50)))}
        settings["EMAIL_MAX_RETRIES"] = str(chance.choice((0, 1, 3, 3, 6)))
        if chance.random() < 0.15:
            settings["EMAIL_EXPIRE_AFTER_HOURS"] = str(chance.choice((0.05, 0.3)))
        if chance.random() < 0.08:
            settings["EMAIL_ON_UNKNOWN"] = "resend"
        return settings

    def _accepters(self, *, are_raced: bool) -> Iterator[Accepter]:
        chance = self._random
        number = 2 if are_raced else chance.choice((1, 1, 2))
        keys = [f"key-{n}" for n in range(chance.randint(1, 4))]
        total = chance.randint(8, 32)
        for _ in range(number):
            callers = chance.randint(1, 4)
            load = [self._caller(total // number // callers, keys) for _ in range(callers)]
            yield Accepter(callers=tuple(load), connections=chance.choice((0, 0, 0, 2)))

    def _caller(self, number: int, keys: list[str]) -> tuple[Step, ...]:
        """Return the steps of one caller: mostly emails, at moments that lie close together or far apart."""
        chance = self._random
        moments = sorted(chance.random() ** chance.choice((1, 3)) * LAST_STRIKE for _ in range(max(number, 2)))
        steps: list[Step] = []
        for at in moments:
            asked = [step.number for step in steps if step.do == "accept"]
            do = chance.choices(("accept", "cancel", "update", "retry", "retry_any"), (80, 7, 6, 3, 4))[0]
            if do == "accept" or (do != "retry_any" and not asked):
                steps.append(self._acceptance(at, keys))
            else:
                of = chance.choice(asked[-5:]) if do != "retry_any" else None
                later = self._random.choice((None, "PT1M", "PT3M")) if do == "update" else None
                steps.append(Step(number=next(self._numbers), at=at, do=do, of=of, delay=later))
        return tuple(steps)

    def _acceptance(self, at: float, keys: list[str]) -> Step:
        chance = self._random
        number = next(self._numbers)
        share = chance.random()
        if share < 0.15:  # raced by whoever else draws it: every word must be the same
            key = chance.choice(keys)
            draft: dict[str, Any] = {
                "to": [f"{key}@example.com"],
                "subject": f"raced {key}",
                "body": "The same for everybody.",
            }
            return Step(number=number, at=at, do="accept", draft=draft, key=key)
        addresses = [self._address(number, n) for n in range(chance.choice((1, 1, 1, 1, 2, 3, 5)))]
        cut = chance.randint(1, len(addresses))
        draft = {
            "to": addresses[:cut],
            chance.choice(("cc", "bcc")): addresses[cut:],
            "subject": f"ask {number}",
            "body": "x" * chance.choice((10, 10, 10, 3_000, 60_000)),
            "priority": chance.choice(("low", "normal", "normal", "high")),
        }
        delay = chance.choice((None, None, None, None, "PT20S", "PT1M", "PT4M", "PT40M", "P3D"))
        own_key = f"own-{number}" if share < 0.6 else None
        return Step(number=number, at=at, do="accept", draft=draft, key=own_key, delay=delay)

    def _address(self, number: int, position: int) -> str:
        kinds, weights = zip(*_LOCAL_PARTS, strict=True)
        return f"{self._random.choices(kinds, weights)[0]}r{number}.{position}@example.com"

    def _perils(self, *, clock_may_jump: bool) -> list[Peril]:
        """Draw one to four faults; kills more often than others."""
        chance = self._random
        possible = [p for p in Peril if p not in _ALIEN[self._database]]
        if not clock_may_jump:
            possible.remove(Peril.CLOCK_STEP)
        number = chance.choice((1, 2, 2, 3, 4))
        return [Peril.KILL if chance.random() < 0.3 else chance.choice(possible) for _ in range(number)]

    def _fault(self, peril: Peril, processes: list[str], security: str) -> Fault:
        chance = self._random
        at = chance.uniform(0.1, LAST_STRIKE)
        process = chance.choice(processes)
        gone = chance.choice((0.0, 0.2, 0.6, 1.2))
        match peril:
            case Peril.STOP:  # half of them wake up in time
                seconds = _LEASE * chance.choice((0.1, 0.4, 1.2, 1.5))
                return Fault(peril=peril, at=at, seconds=seconds, target=process)
            case Peril.CLOCK_STEP:
                amount = chance.choice((-1, 1)) * chance.choice((5, 30, 150, 600))
                return Fault(peril=peril, at=at, seconds=gone + 0.3, target=process, how="by s", amount=amount)
            case Peril.DATABASE_LINE | Peril.SMTP_LINE:
                how, amounts = chance.choice(_LINE_FAULTS)
                return Fault(peril=peril, at=at, seconds=gone + 0.1, how=how, amount=chance.choice(amounts))
            case Peril.SMTP_FAULT:
                return Fault(peril=peril, at=at, seconds=gone + 0.2, steps=self._steps(security))
            case Peril.DATABASE_RESTART | Peril.DATABASE_CRASH | Peril.SMTP_RESTART:
                return Fault(peril=peril, at=at, seconds=gone)
            case Peril.KILL | Peril.TERMINATE | Peril.DISK_FULL:
                return Fault(peril=peril, at=at, seconds=gone, target=process)

    def _steps(self, security: str) -> dict[str, str]:
        """Draw what the SMTP server gets wrong, for all of its clients or for some."""
        chance = self._random
        possible = [step for step in _STEP_FAULTS if security != "none" or step not in ("starttls", "auth")]
        step = chance.choice(possible)
        share = chance.choice(("1", "0.5", "0.2"))
        return {step: chance.choice(_STEP_FAULTS[step]), "share": share}


_ALIEN = {
    "sqlite": {Peril.DATABASE_RESTART, Peril.DATABASE_CRASH, Peril.DATABASE_LINE},
    "postgres": {Peril.DISK_FULL},
}
"""What cannot happen to this database."""

_LINE_FAULTS = (
    ("latency", (0.02, 0.1)),
    ("black hole", (0.0,)),
    ("reset", (0.0,)),
    ("cut after", (0.0, 50.0, 400.0, 3000.0)),
    ("refuse", (0.0,)),
)
