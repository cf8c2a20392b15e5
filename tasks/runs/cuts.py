"""A walk over keys, cut into chunks.

A cut comes after every `size` keys; where that would pass the most that there may be, the size doubles and every other
cut is dropped. Bounds come from the keys alone, so sparse, huge, negative or text keys still give even chunks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, count, islice

from tasks.core.fact_keys import Key
from tasks.runs.plans import PlannedChunk

# Luigi's scheduler is quadratic in tasks: 2,000 take 13 s, 5,000 take 115 s (measured with 3.8.1).
MAX_CHUNKS = 500


Walk = Callable[[int], tuple[int, Key]]
"""Passes the next so many residual keys: how many there were, and the last of them. Fewer than asked is the end."""


@dataclass
class Cuts:
    """The cuts of a walk over residual keys, however long it turns out to be. Memory: at most `most` keys."""

    size: int
    most: int = MAX_CHUNKS
    last: Key = None
    count: int = 0
    bounds: list[Key] = field(default_factory=list)

    def take(self, walk: Walk) -> None:
        """Walk to the end, from cut to cut."""
        while True:
            wanted = self.size - self.count % self.size
            passed, last = walk(wanted)
            if passed:
                self.count += passed
                self.last = last
            if passed < wanted:
                return
            self._cut()

    def take_streamed(self, keys: Iterable[Key]) -> Key:
        """The same over keys that come one by one. Returns the first, None if there is none."""
        left = iter(keys)
        first = tuple(islice(left, 1))
        self.take(streamed(chain(first, left)))
        return first[0] if first else None

    def _cut(self) -> None:
        self.bounds.append(self.last)
        if len(self.bounds) >= self.most:
            self.bounds[:] = self.bounds[1::2]
            self.size *= 2

    def chunks(self, after: Key, *, number: int = 1) -> Iterator[PlannedChunk]:
        """The chunks from `after` to the last key, with no gap between them; `number` is that of the first."""
        ends = [*self.bounds]
        if self.count % self.size or not ends:
            ends.append(self.last)
        for passed, through in enumerate(ends):
            residual = min(self.size, self.count - passed * self.size)
            yield PlannedChunk(number + passed, after, through, residual)
            after = through


def streamed(keys: Iterable[Key]) -> Walk:
    """Over keys that come one by one. From cut to cut they pass without a step of Python each."""
    left = iter(keys)

    def walk(wanted: int) -> tuple[int, Key]:
        passed = deque(zip(count(1), islice(left, wanted)), maxlen=1)
        return passed[0] if passed else (0, None)

    return walk
