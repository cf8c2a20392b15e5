"""The chunks of a run that is to be closed, from the ledger: all of them done, and borne out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from tasks.core.errors import NOTHING_WRITTEN, StateError
from tasks.job.paths import PartPaths, RunPaths
from tasks.runs.ledger import refuse_unborne
from tasks.runs.markers import Marker, marker_of_row, read_marker, write_marker
from tasks.runs.plans import Plan
from tasks.stores.protocols.ledger import Ledger, LedgerBatch, LedgerRow, rows_by_key


@dataclass(frozen=True)
class FinishedChunk:
    """The ledger's row of a chunk, the marker that it makes, and the batches that committed it."""

    row: LedgerRow
    marker: Marker
    batches: tuple[LedgerBatch, ...]


def finished_chunks(
    session: Ledger, paths: RunPaths | PartPaths, plan: Plan, *, key_id: str | None, attester: str | None
) -> list[FinishedChunk]:
    """All chunks of the plan. A marker that is missing is written again.

    `attester` is whose rows the batches wrote; None where each row keeps its own. Raises StateError if a chunk is not
    done, or if rows and log do not bear out what the ledger says.
    """
    run_id = paths.ledger_run_id
    rows = {row.chunk: row for row in session.read_chunks(run_id) if row.plan_id == plan.plan_id}
    batches = {of: tuple(some) for of, some in groupby(session.read_batches(run_id), lambda batch: batch.chunk)}
    found = []
    for planned in plan.chunks:
        row = rows.get(planned.chunk)
        if row is None or not row.is_done:
            seen = "does not know it" if row is None else "says it is not done"
            raise StateError(
                f"its marker is there, but the ledger of the database {seen}: the database was replaced "
                "or restored since",
                where=str(planned),
                hint="Use a new --run-id",
                written=NOTHING_WRITTEN,
            )
        of_chunk = batches.get(planned.chunk, ())
        marker = marker_of_row(plan, row, rows_by_key(of_chunk), mode=paths.mode, key_id=key_id)
        if read_marker(plan, paths, planned.chunk) is None:
            write_marker(marker, paths)
        found.append(FinishedChunk(row, marker, of_chunk))
    refuse_unborne(session, plan, rows, run_id=run_id, attester=attester)
    return found
