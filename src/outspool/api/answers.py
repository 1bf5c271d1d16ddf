"""The answer to a call, which its client may no longer be there to get."""

from __future__ import annotations

from collections.abc import Callable

PENDING_ANSWER = "outspool.answer"
"""Key in an ASGI scope of the request's `PendingAnswer`."""


class PendingAnswer:
    """The answer to one call until the client has it."""

    def __init__(self) -> None:
        """Expect nothing yet."""
        self._is_lost = False
        self._actions: list[Callable[[], None]] = []

    def when_lost(self, action: Callable[[], None]) -> None:
        """Call `action` once if the client does not get the answer; at once if that is certain already."""
        if self._is_lost:
            action()
        else:
            self._actions.append(action)

    def lose(self) -> None:
        """Note that the client does not get the answer, or does not want it."""
        self._is_lost = True
        while self._actions:
            self._actions.pop(0)()
