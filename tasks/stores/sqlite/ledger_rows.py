"""Rows of the ledger as values. Whoever has the database can put anything there: columns are checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pydantic import TypeAdapter

from tasks.core.documents import Moment, Seconds, typed, typed_row
from tasks.core.errors import StateError
from tasks.core.fact_keys import decoded
from tasks.stores.protocols.counts import COUNTS, COUNTS_OF_BATCHES, Counts
from tasks.stores.protocols.ledger import LedgerBatch, LedgerRow, RunRow
from tasks.stores.protocols.states import ChunkState

_RUNS = TypeAdapter(RunRow)
_CHUNK_COLUMNS = ("chunk", "plan_id", "state", "attempts", "host", "pid", "started_at", "finished_at", "seconds")
_CHUNKS = TypeAdapter(tuple[int, str, ChunkState, int, str, int, Moment, Moment | None, Seconds])
_BATCH_COLUMNS = ("chunk", "first_attestation_id", "last_attestation_id", "key_id", "content")
_BATCHES = TypeAdapter(tuple[int, int | None, int | None, str | None, bytes | None])
_REJECT_COLUMNS = ("fact_id", "reason", "detail", "chunk")
_REJECTS = TypeAdapter(tuple[str, str, str, int])
_REASONS = TypeAdapter(tuple[str, int])
_COUNTS_OF_CHUNKS = TypeAdapter(tuple[int, int])
_BUDGETED = TypeAdapter(tuple[Moment, int])


def run_row(row: tuple[Any, ...]) -> RunRow:
    return typed(_RUNS, dict(zip(RunRow.__dataclass_fields__, row, strict=True)))


def ledger_row(row: tuple[Any, ...]) -> LedgerRow:
    columns = typed_row(_CHUNKS, _CHUNK_COLUMNS, (*row[:2], *row[-7:]))
    chunk, plan_id, state, attempts, host, pid, started_at, finished_at, seconds = columns
    after, through, cursor = (decoded(*row[i : i + 2]) for i in (2, 4, 6))
    counts = _counts(chunk, COUNTS, row[8:-7])
    return LedgerRow(
        chunk, plan_id, after, through, cursor, counts, state, attempts, host, pid, started_at, finished_at, seconds
    )


def ledger_batch(row: tuple[Any, ...]) -> LedgerBatch:
    chunk, first, last, key_id, content = typed_row(_BATCHES, _BATCH_COLUMNS, (row[0], *row[-4:]))
    after, through = decoded(*row[1:3]), decoded(*row[3:5])
    counts = _counts(chunk, COUNTS_OF_BATCHES, row[5:-4])
    return LedgerBatch(chunk, after, through, counts, first, last, key_id, content)


def reject_row(row: tuple[Any, ...]) -> dict[str, Any]:
    fact_id, reason, detail, chunk = typed_row(_REJECTS, _REJECT_COLUMNS, row)
    return {"fact_id": fact_id, "reason": reason, "detail": detail, "chunk": chunk}


def reason_row(row: tuple[Any, ...]) -> tuple[str, int]:
    return typed_row(_REASONS, ("reason", "count"), row)


def rejects_of_chunk(row: tuple[Any, ...]) -> tuple[int, int]:
    return typed_row(_COUNTS_OF_CHUNKS, ("chunk", "count"), row)


def budgeted_run(row: tuple[Any, ...]) -> tuple[str, int]:
    return typed_row(_BUDGETED, ("finished_at", "remaining"), row)


def sums_of_run(row: tuple[Any, ...]) -> tuple[int, int]:
    """Sums that SQLite gives as REALs."""
    if not all(map(math.isfinite, row)):
        raise ValueError("counts: their sum has no end")
    written, rejected = map(int, row)
    return written, rejected


def _counts(chunk: object, names: Sequence[str], values: tuple[Any, ...]) -> Counts:
    """Raises StateError for what no transaction of this job could have left there."""
    with suppress(AssertionError):
        if all(type(value) is int and value >= 0 for value in values):
            return Counts(**dict(zip(names, values, strict=True)))
    raise StateError(
        f"the ledger has the counts {values!a} for it, which do not add up",
        where=f"chunk {chunk!a}",
        hint="Nobody but this job may write to its ledger: use a new --run-id, and find out who did",
    )
