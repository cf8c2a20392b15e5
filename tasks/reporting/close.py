"""Closing a run: the report is made, the ledger's run row is finished, the files are written."""

from __future__ import annotations

from tasks.core import durable
from tasks.core.errors import NOTHING_WRITTEN, StateError
from tasks.job.paths import RunPaths
from tasks.job.settings import Settings
from tasks.job.signers import signer_of
from tasks.reporting.fresh_counts import find_leftovers
from tasks.reporting.markdown import to_markdown, to_terminal
from tasks.reporting.so_far import remove_so_far
from tasks.reporting.summary import summarize
from tasks.runs.frozen_plans import read_plan, refuse_other_budget, refuse_other_reattestation, require_plan
from tasks.runs.gate import is_gated, recover
from tasks.runs.plans import Plan
from tasks.stores.open import open_store
from tasks.stores.protocols.session import Session


def report_is_done(settings: Settings, paths: RunPaths, max_rows: int | None, because: str | None = None) -> bool:
    """True if report.json is whole, of the frozen plan, and, for a live run, known to the database's ledger.

    That of a dry run counts only while the gate stands as it was passed: a rehearsal is of the database as it is.

    Raises StateError if the plan is not for this command, or if the ledger no longer holds the run.
    """
    plan = read_plan(paths, settings)
    if plan is None:
        return False
    refuse_other_budget(plan, paths, max_rows)
    refuse_other_reattestation(plan, paths, because)
    content = durable.read_json(paths.report, root=paths.state_dir)
    if content is None or content.get("plan_id") != plan.plan_id or not paths.report_markdown.exists():
        return False
    recover(settings, paths)
    if paths.dry_run:
        return is_gated(settings, paths)
    with open_store(settings).session(write=False) as session:
        return _is_finished(session, settings, paths, plan) if plan.chunks else _is_empty(session, settings, plan)


def _is_finished(session: Session, settings: Settings, paths: RunPaths, plan: Plan) -> bool:
    """Whether the ledger says of the run, and of each of its chunks, that they are finished."""
    run = session.read_run(plan.run_id)
    if run is None or run.plan_id != plan.plan_id:
        raise StateError(
            f"this run is finished, but the ledger of {settings.place} does not know it: the "
            "database was replaced or restored since",
            where=str(paths.report),
            hint="Use a new --run-id",
            written=NOTHING_WRITTEN,
        )
    done = {row.chunk for row in session.read_chunks(plan.run_id) if row.is_done}
    return run.finished_at is not None and done >= {planned.chunk for planned in plan.chunks}


def _is_empty(session: Session, settings: Settings, plan: Plan) -> bool:
    """A run that had nothing to do leaves no trace in the ledger: ask the store whether that was so."""
    with session.counting_snapshot():
        find_leftovers(session, settings, plan, {}, residual=session.count_residual())
    return True


def close_run(settings: Settings, paths: RunPaths) -> str:
    """Write report.json and report.md of a run whose chunks are done. Returns the terminal's summary."""
    plan = require_plan(paths, settings)
    signer = signer_of(settings)
    live = not paths.dry_run and bool(plan.chunks)
    with open_store(settings).session(write=live) as session:
        report = summarize(session, settings, paths, plan, key_id=signer.key_id.hex() if signer else None)
        if live:
            session.finish_run(
                run_id=plan.run_id, now=report.finished_at, stop_reason=plan.stop_reason, remaining=report.remaining
            )
        session.check_place()
    durable.write_durably(paths.report_markdown, to_markdown(report), root=paths.state_dir)
    durable.write_durably(paths.report, durable.to_text(report.as_json()), root=paths.state_dir)
    remove_so_far(paths)
    return to_terminal(report, str(paths.report))
