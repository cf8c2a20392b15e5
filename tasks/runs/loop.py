"""The loop of every chunked run: backfill, dry run, signing what is pending, verifying.

1. Claim the chunk: how far it is, by the ledger, or from its start where the kind of run keeps none.
2. Until it is done, batch by batch:
   a. Go on only while somebody waits for it, no signal came, and the schema is the one that was gated.
   b. Do the next batch. What a kind of run writes commits with the ledger's step, all of it or nothing; if others
      overtook what was read, nothing was written, and it is read again.
   c. Read again how far the chunk is: others may work on it too.
   d. Tell the progress, and rest if the job file says so.
3. Leave the marker. It never precedes the commit that it tells of.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol, TypeVar

from tasks.core import signals
from tasks.core.errors import DatabaseError, OrphanedError, ProvenanceError
from tasks.core.parent import watch_parent

MAX_STALE_READS = 100
_LONGEST_SLEEP = 1.0  # seconds between two looks at the parent


@dataclass(frozen=True)
class Progress:
    """How far a chunk is: facts settled of the residual ones; `new` of them in this attempt's `seconds`."""

    settled: int
    of: int
    new: int
    seconds: float


class Standing(Protocol):
    """How far a chunk is."""

    @property
    def is_done(self) -> bool: ...

    @property
    def settled(self) -> int:
        """How many of its rows need nothing more."""


S = TypeVar("S", bound=Standing)


class Work(Protocol[S]):
    """What a run of one kind does with one chunk. Of a kind that `writes`, no batch is cut short by a signal."""

    @property
    def writes(self) -> bool: ...

    def claim(self) -> S:
        """How far the chunk is now."""

    def check_schema(self) -> None:
        """Raise SchemaChangedError if the schema is no longer the one that was gated."""

    def do_next_batch(self, standing: S) -> bool:
        """Do the batch that follows, all of it or nothing. False, with nothing done, if the read was overtaken."""

    def reread(self) -> S:
        """How far the chunk is after a batch."""

    def stopped(self, error: ProvenanceError | KeyboardInterrupt, standing: S) -> BaseException:
        """What to raise for an error that ends the attempt here."""

    def leave_marker(self, standing: S) -> None:
        """Say in a file that the chunk is done."""


def work_through(
    work: Work[S], *, residual: int, progress: Callable[[Progress], None], pause_seconds: float = 0.0
) -> S:
    """Bring one chunk of `residual` rows to its end and leave its marker. Returns how far it is then.

    Safe to do again after any error, interruption or crash, and at once with others. Raises DatabaseError if other
    writers overtook it too often in a row, and whatever the work raises, as `Work.stopped` puts it.
    """
    standing = work.claim()
    parent_is_gone, started, stale, before = watch_parent(), time.monotonic(), 0, standing.settled
    try:
        with signals.interruptible(False) if work.writes else nullcontext():
            while not standing.is_done:
                refuse_orphan(parent_is_gone)
                work.check_schema()
                stale = 0 if work.do_next_batch(standing) else stale + 1
                if stale > MAX_STALE_READS:
                    raise DatabaseError(f"{stale} reads in a row were overtaken by other writers")
                standing = work.reread()
                settled = standing.settled
                progress(Progress(settled, residual, settled - before, time.monotonic() - started))
                if pause_seconds and not standing.is_done:
                    _rest(pause_seconds, parent_is_gone)
    except (ProvenanceError, KeyboardInterrupt) as error:
        raise work.stopped(error, standing) from None
    work.leave_marker(standing)
    return standing


def refuse_orphan(parent_is_gone: Callable[[], bool]) -> None:
    """Raise OrphanedError if nobody waits for this worker any more, SignalledError if it was told to end."""
    signals.refuse_to_go_on()
    if parent_is_gone():
        raise OrphanedError("the process that had started this worker has ended")


def _rest(seconds: float, parent_is_gone: Callable[[], bool]) -> None:
    """Sleep, but no longer than there is a parent, and no signal to end."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not parent_is_gone() and not signals.arrived():
        time.sleep(min(left, _LONGEST_SLEEP))
