"""What the ledger says of a run, and how far that is borne out.

Files are projections: a marker is believed where the ledger of the database says the same. The ledger in turn is only
rows that somebody with the database can write. So a run is closed over it only where it hangs together:

1. Each chunk's row is that of the planned range, at its end, and done.
2. Its counts are the sums of its batches, and those follow each other through the range.
3. Each batch has as many rows in the log as it says it wrote, and no two batches share one.
4. Each chunk has as many rejects as it says.
5. What is still residual, counted afresh, is what the run rejected or what came since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import lru_cache

from tasks.core.errors import NOTHING_WRITTEN, StateError
from tasks.core.fact_keys import describe
from tasks.job.paths import PartPaths, RunPaths
from tasks.job.settings import Settings
from tasks.runs.plans import Plan, PlannedChunk
from tasks.stores.open import open_store
from tasks.stores.protocols.counts import COUNTS_OF_BATCHES
from tasks.stores.protocols.ledger import ChunkLedger, Ledger, LedgerBatch, LedgerRow, RunLedger
from tasks.stores.protocols.session import Session


def done_chunks(settings: Settings, paths: RunPaths, plan: Plan) -> frozenset[int]:
    """The chunks of a live run or a signing that the ledger calls done. Opens the database once for each state of the
    folder of markers, however many tasks ask. Raises as `open_session` does.
    """
    folder = paths.marker(1).parent
    version = folder.stat().st_mtime_ns if folder.exists() else 0
    return _look(_Question(settings.database, paths, plan.plan_id, version, settings))


@dataclass(frozen=True)
class _Question:
    """What tells one look at the ledger from the next."""

    database: str
    paths: RunPaths
    plan_id: str
    folder_version: int
    settings: Settings = field(compare=False)


@lru_cache(maxsize=4)
def _look(asked: _Question) -> frozenset[int]:
    with _session(asked.settings, asked.paths) as session:
        rows = session.read_chunks(asked.paths.ledger_run_id)
    return frozenset(row.chunk for row in rows if row.plan_id == asked.plan_id and row.is_done)


def refuse_lost_ledger(session: RunLedger, paths: RunPaths, plan: Plan) -> None:
    """Raise StateError if the ledger does not know a run that has markers."""
    if session.read_run(paths.ledger_run_id) is None:
        raise StateError(
            f"there are markers of run {plan.run_id}, but the ledger of {plan.database} does not "
            "know it: the database was replaced or restored since",
            where=str(paths.marker(1).parent),
            hint="Use a new --run-id",
            written=NOTHING_WRITTEN,
        )


def refuse_other_range(planned: PlannedChunk, row: LedgerRow) -> None:
    """Raise StateError unless a chunk that is done was begun at its start and came to its end."""
    if (row.after, row.through, row.cursor) != (planned.after, planned.through, planned.through):
        raise _altered(
            planned, f"the ledger calls ({describe(row.after)}, {describe(row.through)}] done, up to "
            f"{describe(row.cursor)}"
        )  # fmt: skip


def refuse_unborne(
    session: Ledger, plan: Plan, rows: Mapping[int, LedgerRow], *, run_id: str, attester: str | None
) -> None:
    """Raise StateError unless the batches and the rejects bear out the chunks, and the log the batches.

    `rows` has the row of each planned chunk, `run_id` is that of the ledger. `attester` signed every row of the run;
    None where each row may have another. The log is counted by its index, 1.5 million rows in a twentieth of a second.
    """
    batches, rejects = session.read_batches(run_id), session.count_rejects(run_id)
    for planned in plan.chunks:
        row, rejected = rows[planned.chunk], rejects.pop(planned.chunk, 0)
        refuse_other_range(planned, row)
        _refuse_other_sums(planned, row, [batch for batch in batches if batch.chunk == planned.chunk])
        if row.counts.rejected != rejected:
            raise _altered(planned, f"{row.counts.rejected} rejected by the ledger, which has {rejected} rejects of it")
    for stranger in {batch.chunk for batch in batches} - rows.keys() | rejects.keys():
        raise _altered(f"chunk {stranger}", "the ledger has batches or rejects of it, and the plan has no such chunk")
    _refuse_other_log(session, plan, batches, attester)


def _refuse_other_log(session: ChunkLedger, plan: Plan, batches: Sequence[LedgerBatch], attester: str | None) -> None:
    seen = 0
    for batch in sorted(batches, key=lambda batch: batch.first_attestation_id or 0):
        planned = plan.chunk(batch.chunk)
        written, first, last = batch.counts.inserted + batch.counts.updated, *_ids(batch)
        if last - first + 1 < written or (written and first <= seen):
            raise _altered(planned, f"a batch of {written} rows goes by the log rows {first} to {last}")
        if written and (found := session.count_log_rows(attester=attester, first=first, last=last)) != written:
            raise _altered(planned, f"{written} rows were written by the ledger, of which the log has {found}")
        seen = max(seen, last)


def _ids(batch: LedgerBatch) -> tuple[int, int]:
    ids = (batch.first_attestation_id, batch.last_attestation_id)
    return (1, 0) if ids == (None, None) else (ids[0] or 0, ids[1] or 0)


def _refuse_other_sums(planned: PlannedChunk, row: LedgerRow, batches: Sequence[LedgerBatch]) -> None:
    at = planned.after
    for batch in batches:
        if batch.after != at:
            begins = f"one of its batches begins at {describe(batch.after)}, after one up to {describe(at)}"
            raise _altered(planned, begins)
        at = batch.through
    if at != planned.through or not batches:
        raise _altered(planned, f"the ledger calls it done, its batches end at {describe(at)}")
    for name in COUNTS_OF_BATCHES:
        said, summed = getattr(row.counts, name), sum(getattr(batch.counts, name) for batch in batches)
        if said != summed:
            raise _altered(planned, f"{said} {name} by the ledger, {summed} by its batches")


def _altered(planned: PlannedChunk | str, seen: str) -> StateError:
    return StateError(
        seen,
        where=str(planned),
        hint="Nobody but this job may write to its ledger: use a new --run-id, and find out who did",
        written="What this run has written is committed and stays",
    )


def _session(settings: Settings, paths: RunPaths) -> AbstractContextManager[Session]:
    is_signing = isinstance(paths, PartPaths) and paths.part == "sign"
    store = open_store(settings)
    return store.pending_session(write=False) if is_signing else store.session(write=False)
