"""What is measured, in the order it is run: each part by its name, as a function from a `Ground` to its tables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType

from bench.ground import Ground
from bench.parts.accept import accept
from bench.parts.deliver import deliver
from bench.parts.due import due
from bench.parts.footprint import footprint
from bench.parts.history import history
from bench.parts.memory import memory
from bench.parts.partitions import partitions
from bench.parts.queue import queue
from bench.parts.rivals import rivals
from bench.parts.start import start
from bench.table import Table

Part = Callable[[Ground], Awaitable[Sequence[Table]]]

_ORDER: Sequence[Part] = (start, accept, rivals, deliver, queue, footprint, history, partitions, due, memory)

PARTS: Mapping[str, Part] = MappingProxyType({part.__name__: part for part in _ORDER})
