"""The loop of every chunked run, on work that is nothing but a number: any kind fits that can do as much."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tasks.core import signals
from tasks.core.errors import DatabaseError, OrphanedError, ProvenanceError, SchemaChangedError, SignalledError
from tasks.runs import loop
from tasks.runs.loop import MAX_STALE_READS, Progress, work_through


@dataclass(frozen=True)
class Counted:
    """Settled so many of three."""

    settled: int

    @property
    def is_done(self) -> bool:
        return self.settled == 3


@dataclass
class Counting:
    """Settles one row a batch. `overtaken` reads come to nothing; at `fails_at` rows the schema is another."""

    writes: bool = True
    begun: int = 0
    overtaken: int = 0
    fails_at: int | None = None
    did: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._now = Counted(self.begun)

    def claim(self) -> Counted:
        self.did.append("claim")
        return self._now

    def check_schema(self) -> None:
        self.did.append("check")
        if self._now.settled == self.fails_at:
            raise SchemaChangedError("the schema changed")

    def do_next_batch(self, counted: Counted) -> bool:
        self.did.append("batch")
        assert counted == self._now
        if self.overtaken:
            self.overtaken -= 1
            return False
        self._now = Counted(counted.settled + 1)
        return True

    def reread(self) -> Counted:
        self.did.append("reread")
        return self._now

    def stopped(self, error: ProvenanceError | KeyboardInterrupt, counted: Counted) -> BaseException:
        self.did.append("stopped")
        return error if isinstance(error, KeyboardInterrupt) else type(error)(f"{error} at {counted.settled}")

    def leave_marker(self, counted: Counted) -> None:
        assert counted.is_done
        self.did.append("marker")


def run(work: Counting, *, pause_seconds: float = 0.0) -> list[Progress]:
    told = list[Progress]()
    assert work_through(work, residual=3, progress=told.append, pause_seconds=pause_seconds).is_done
    return told


BATCH = ["check", "batch", "reread"]


def test_a_chunk_is_claimed_goes_on_batch_by_batch_and_leaves_its_marker_last() -> None:
    work = Counting()
    told = run(work)
    assert work.did == ["claim", *BATCH * 3, "marker"]
    assert [(one.settled, one.of, one.new) for one in told] == [(1, 3, 1), (2, 3, 2), (3, 3, 3)]


def test_a_chunk_that_was_begun_goes_on_where_it_stands_and_tells_what_is_new() -> None:
    told = run(Counting(begun=2))
    assert [(one.settled, one.new) for one in told] == [(3, 1)]


def test_a_chunk_that_is_done_only_gets_its_marker_again() -> None:
    work = Counting(begun=3)
    assert run(work) == [] and work.did == ["claim", "marker"]


def test_a_batch_that_was_overtaken_is_read_again() -> None:
    work = Counting(overtaken=MAX_STALE_READS)
    run(work)
    assert work.did.count("batch") == 3 + MAX_STALE_READS


def test_it_gives_up_where_every_read_is_overtaken_and_leaves_no_marker() -> None:
    work = Counting(overtaken=MAX_STALE_READS + 1)
    with pytest.raises(DatabaseError, match=f"{MAX_STALE_READS + 1} reads in a row were overtaken .* at 0"):
        run(work)
    assert work.did[-1] == "stopped"


def test_an_error_is_raised_as_the_work_puts_it_and_no_marker_is_left() -> None:
    work = Counting(fails_at=2)
    with pytest.raises(SchemaChangedError, match="the schema changed at 2"):
        run(work)
    assert work.did == ["claim", *BATCH * 2, "check", "stopped"]


def test_nothing_more_is_begun_once_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "watch_parent", lambda: lambda: True)
    work = Counting()
    with pytest.raises(OrphanedError):
        run(work)
    assert work.did == ["claim", "stopped"]


@pytest.mark.parametrize("writes", [True, False])
def test_only_what_writes_may_not_be_cut_short_by_a_signal(writes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[bool]()
    work = Counting(writes=writes)
    monkeypatch.setattr(work, "check_schema", lambda: seen.append(signals._process.may_be_cut))
    with signals.interruptible():
        run(work)
    assert seen == [not writes] * 3


def test_a_signal_ends_the_rest_between_two_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    work, slept = Counting(), list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        assert len(slept) == 1 and seconds <= 1
        monkeypatch.setattr(signals, "refuse_to_go_on", refuse)
        monkeypatch.setattr(signals, "arrived", lambda: "SIGTERM")

    def refuse() -> None:
        raise SignalledError("interrupted")

    monkeypatch.setattr(loop.time, "sleep", sleep)
    with pytest.raises(SignalledError, match="interrupted at 1"):
        run(work, pause_seconds=3600)
    assert work.did == ["claim", *BATCH, "stopped"]
