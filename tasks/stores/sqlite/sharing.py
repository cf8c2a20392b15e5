"""Reading that several connections share, each in a thread of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import apsw

Piece = Callable[[apsw.Connection], Any]


def share(pieces: Sequence[Piece], connections: Sequence[apsw.Connection]) -> list[Any]:
    """What the pieces return, in their order. A connection that is free takes the next piece: put the longest first.

    Raises what a piece raises; pieces that nobody has begun by then are left.
    """
    waiting = deque(enumerate(pieces))
    done: dict[int, Any] = {}

    def work(connection: apsw.Connection) -> None:
        try:
            while waiting:
                try:
                    number, piece = waiting.popleft()
                except IndexError:  # another thread took the last one
                    return
                done[number] = piece(connection)
        except BaseException:
            waiting.clear()
            raise

    own, *others = connections
    with ThreadPoolExecutor(max_workers=len(connections)) as threads:
        helping = [threads.submit(work, connection) for connection in others]
        work(own)
        for helper in helping:
            helper.result()
    return [done[number] for number in range(len(pieces))]
