"""Work that connections share: every piece once, at the same time, and nothing more after a failure."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Barrier, Event
from time import sleep
from typing import Any

import apsw
import pytest

from tasks.stores.sqlite.sharing import share


@pytest.fixture
def connections() -> Iterator[list[apsw.Connection]]:
    opened = [apsw.Connection(":memory:") for _ in range(2)]
    yield opened
    for connection in opened:
        connection.close()


@pytest.mark.parametrize("sharing", [1, 2])
def test_every_piece_is_done_once_and_told_in_its_place(connections: Any, sharing: int) -> None:
    begun = []

    def piece(number: int) -> Any:
        def run(connection: apsw.Connection) -> Any:
            begun.append(number)
            return connection.execute("SELECT ? * 10", (number,)).get

        return run

    assert share([piece(number) for number in range(100)], connections[:sharing]) == [10 * n for n in range(100)]
    assert sorted(begun) == list(range(100))


def test_two_connections_work_at_the_same_time(connections: Any) -> None:
    both = Barrier(2, timeout=5)

    def meet(connection: apsw.Connection) -> apsw.Connection:
        both.wait()
        return connection

    assert set(share([meet, meet], connections)) == set(connections)


@pytest.mark.parametrize("failing", [0, 1])
def test_after_a_failure_no_piece_is_begun(connections: Any, failing: int) -> None:
    both, failed, begun = Barrier(2, timeout=5), Event(), []

    def fail_on_one(connection: apsw.Connection) -> None:
        begun.append(connection)
        both.wait()
        if connection is connections[failing]:
            failed.set()
            raise apsw.BusyError("locked")
        failed.wait(timeout=5)
        sleep(0.2)

    with pytest.raises(apsw.BusyError):
        share([fail_on_one] * 50, connections)
    assert len(begun) == 2
