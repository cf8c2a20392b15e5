"""When a run has rejected so many facts that going on would be of no use: the job file or the store is wrong.

Counted are facts that were never rejected for the same reason before: those that stay wrong do not stop the runs that
come after.
"""

from __future__ import annotations

from typing import Final

from tasks.core.errors import RejectsError
from tasks.core.fact_keys import describe
from tasks.runs.plans import Plan, PlannedChunk
from tasks.stores.protocols.ledger import Ledger, LedgerRow

ENOUGH_TO_JUDGE: Final = 1000
"""So many facts must be settled before a share says anything."""


def refuse_more_rejects(
    session: Ledger, plan: Plan, chunk: PlannedChunk, row: LedgerRow, *, max_rejects: float
) -> None:
    """Raise RejectsError if the run, over all its chunks, has rejected more than this share of what it settled.

    The ledger then says that the run is stopped, and why. The same command goes on once the share is raised.
    """
    written, rejected = session.settled_by(plan.run_id)
    if not _is_too_many(rejected, written, max_rejects):
        return
    rejected = session.count_new_rejects(plan.run_id)
    if not _is_too_many(rejected, written, max_rejects):
        return
    session.stop_run(run_id=plan.run_id, stop_reason="rejects")
    reasons = ", ".join(f"{reason} {count}" for reason, count in session.reject_reasons(plan.run_id).items())
    raise RejectsError(
        f"nearly every fact is rejected ({reasons}): mend that, then use a new --run-id. {chunk}: {rejected} of "
        f"{rejected + written} facts of run {plan.run_id} were, pacing.max_rejects is {max_rejects:g}. It stopped at "
        f"{describe(row.cursor)} with {row.counts.inserted + row.counts.updated} rows written; am_backfill_reject has "
        f"what was seen of each. To go on regardless, set pacing.max_rejects: 1 and run the same command again."
    )


def _is_too_many(rejected: int, written: int, share: float) -> bool:
    settled = rejected + written
    return settled >= ENOUGH_TO_JUDGE and rejected > share * settled
