"""What outspool costs, beside its rivals and the limit. `python -m bench` runs it; RESULTS.md says what it found.

::

    __main__      command line: which parts, how large
    parts/        what is measured, each file a part: it fills `Table`s
    rivals/       other people's programs, made ready to take their turn
    table         turns, and the figures of each
    ground        where it happens: sink, databases, environment
    report, svg   RESULTS.md and its plots
"""

from __future__ import annotations

import sys
from pathlib import Path

# A Postgres server of one's own is among what the tests share.
sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
