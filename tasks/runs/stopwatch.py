"""Where the time of a batch goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from tasks.stores.protocols.batches import BatchTimes


class Stopwatch:
    """Where the time of one batch goes, before it is written."""

    def __init__(self, now: Callable[[], str]) -> None:
        self._began_at, self._since = now(), time.monotonic()
        self._seconds = dict.fromkeys(("reading", "deriving", "signing"), 0.0)

    def lap(self, name: Literal["reading", "deriving", "signing"]) -> None:
        """What passed since the last lap went to `name`."""
        now = time.monotonic()
        self._seconds[name] += now - self._since
        self._since = now

    def skip(self) -> None:
        """What passed since the last lap went to a write that came to nothing."""
        self._since = time.monotonic()

    def times(self) -> BatchTimes:
        return BatchTimes(began_at=self._began_at, **self._seconds)
