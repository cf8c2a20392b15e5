"""The states of a run and of a chunk: one table, which ledger, statements, reports and README go by.

`stopped` is an honest end: the report says why, and what remains. An interruption (a signal, a crash, a lost host) is
no end and no edge: the same command goes on. The table stands here, below all that reads or writes a state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

RunState: TypeAlias = Literal["planned", "running", "paused", "done", "stopped", "undone"]
ChunkState: TypeAlias = Literal["running", "done", "stopped"]

RUNNING: Final = "running"
DONE: Final = "done"
STOPPED: Final = "stopped"
RUN_STATES: Final[tuple[RunState, ...]] = get_args(RunState)
CHUNK_STATES: Final[tuple[ChunkState, ...]] = get_args(ChunkState)


@dataclass(frozen=True)
class Edge:
    """From one state to another, None where there is no row yet, and a sentence that says when."""

    before: str | None
    after: str
    why: str


CHUNK_EDGES: Final = (
    Edge(None, RUNNING, "a worker claims the chunk"),
    Edge(
        RUNNING, RUNNING,
        "a batch commits: the cursor moves, the counts grow. Or another attempt begins: `attempts` grows",
    ),
    Edge(RUNNING, DONE, "the last batch commits. Nothing leaves `done`"),
    Edge(RUNNING, STOPPED, "the run is stopped before its last batch: what is left goes to the next run"),
)  # fmt: skip

RUN_EDGES: Final = (
    Edge(None, "planned", "its plan is frozen. The ledger does not know it yet"),
    Edge("planned", RUNNING, "its first chunk enters it in the ledger"),
    Edge(RUNNING, "paused", "an operator lets it wait in place"),
    Edge("paused", RUNNING, "an operator lets it go on"),
    Edge(RUNNING, DONE, "every chunk is done and the report proves it"),
    Edge("paused", DONE, "every chunk was done when it was paused, and the report proves it"),
    Edge(RUNNING, STOPPED, "nearly every fact is rejected, a budget or a window ends, or an operator ends it"),
    Edge("paused", STOPPED, "an operator ends it"),
    Edge(STOPPED, DONE, "what stopped it is mended, and the same command came to its end"),
    Edge(DONE, "undone", "an operator takes it back, where the rows are still its own"),
    Edge(STOPPED, "undone", "an operator takes back what it wrote, where the rows are still its own"),
)


def before_chunk_is(state: ChunkState) -> tuple[str, ...]:
    """The states from which a chunk comes to this one; what holds it there is a predicate of the statement."""
    return tuple(edge.before for edge in CHUNK_EDGES if edge.after == state and edge.before is not None)


def chunk_state(*, is_done: bool) -> ChunkState:
    """Of a chunk after a batch."""
    return DONE if is_done else RUNNING
