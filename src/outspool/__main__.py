"""``python -m outspool``."""

from outspool.cli import main

main()
