"""The frozen plan of a run: plan.json, written once, and the copy that the ledger keeps.

A plan is followed only for the run, the database and the rules that it was made for.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path

from tasks.contract.binding import Binding
from tasks.core import durable
from tasks.core.errors import NOTHING_WRITTEN, RUN_AGAIN, StateError
from tasks.job.paths import RunPaths
from tasks.job.settings import Settings
from tasks.runs.plans import Plan, plan_from_json, plan_from_ledger, plan_of
from tasks.stores.protocols.ledger import RunLedger

logger = logging.getLogger("luigi-interface")


def plan_of_ledger(ledger: RunLedger, paths: RunPaths) -> Plan | None:
    """The plan that the ledger keeps of this run, if it knows the run. Raises as `plan_from_ledger` does."""
    known = ledger.read_run(paths.ledger_run_id)
    if known is None:
        return None
    return plan_from_ledger(known.plan_id, known.plan, started_at=known.started_at, run_id=paths.run_id)


def read_plan(paths: RunPaths, settings: Settings) -> Plan | None:
    """The frozen plan of the run, or None if there is none yet (or its file is torn).

    Raises StateError if it is the plan of another database or of other derivation rules.
    """
    try:
        status = paths.plan.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(
            f"{paths.plan}: cannot be read: {error.strerror}. Check state_dir. Nothing was written."
        ) from None
    plan = _read_plan_file(paths.plan, paths.state_dir, (status.st_ino, status.st_mtime_ns, status.st_size))
    if plan is not None:
        refuse_foreign_plan(plan, paths, settings)
    return plan


def require_plan(paths: RunPaths, settings: Settings) -> Plan:
    """The frozen plan. Raises StateError if there is none."""
    plan = read_plan(paths, settings)
    if plan is None:
        raise StateError("the plan is missing or torn", where=str(paths.plan), again=RUN_AGAIN, written=NOTHING_WRITTEN)
    return plan


@lru_cache(maxsize=2)
def _read_plan_file(path: Path, root: Path, version: tuple[int, int, int]) -> Plan | None:
    """Hundreds of tasks ask for the same plan; `version` tells one state of the file from the next."""
    content = durable.read_json(path, root=root)
    return plan_from_json(content) if content else None


def refuse_foreign_plan(plan: Plan, paths: RunPaths, settings: Settings) -> None:
    """Raise StateError unless the plan was made for this run, this database and these rules."""
    database = settings.place.absolute
    if plan.run_id != paths.run_id:
        raise StateError(f"{paths.plan}: belongs to run {plan.run_id}. Use a new --run-id. Nothing was written.")
    if plan.database != database:
        raise StateError(
            f"{paths.plan}: run {plan.run_id} was planned for the database {plan.database}, the job file now names "
            f"{database}. Use a new --run-id or another state_dir. Nothing was written."
        )
    if plan.settings_digest != settings.digest:
        raise StateError(
            f"{paths.plan}: run {plan.run_id} was planned with other tables or another derivation than "
            f"{settings.job_file} has now. Use a new --run-id. Nothing was written."
        )


def refuse_other_binding(plan: Plan, binding: Binding) -> None:
    """Raise StateError unless every role is bound as it was when the run was planned (and rehearsed).

    A column that came or went since then would change what is attested, without a word.
    """
    if plan.binding_digest != binding.digest:
        absences = "; ".join(binding.absences) or "every optional column is there"
        raise StateError(
            f"run {plan.run_id} was planned on another schema: a column that the contract relies on came, went or was "
            f"renamed since. Now: {absences}. Mend the schema and run the same command again, or take the schema as it "
            f"is with a new --run-id. Nothing more was written."
        )


def refuse_other_budget(plan: Plan, paths: RunPaths, max_rows: int | None) -> None:
    """Raise StateError unless the plan was made with this row budget."""
    if plan.max_rows != max_rows:
        made, asked = (f"--max-rows {n}" if n is not None else "no --max-rows" for n in (plan.max_rows, max_rows))
        raise StateError(
            f"{paths.plan}: run {plan.run_id} was planned with {made}, this command has {asked}. Give the same, or use "
            f"a new --run-id. Nothing was written."
        )


def refuse_other_reattestation(plan: Plan, paths: RunPaths, because: str | None) -> None:
    """Raise StateError unless the plan was made with this reason to write over what is not as it was logged."""
    if plan.reattest != (because or ""):
        made, asked = (
            f"--reattest --because {reason!a}" if reason else "no --reattest" for reason in (plan.reattest, because)
        )
        raise StateError(
            f"{paths.plan}: run {plan.run_id} was planned with {made}, this command has {asked}. Give the same, or use "
            f"a new --run-id. Nothing was written."
        )


def freeze(plan: Plan, paths: RunPaths) -> Plan:
    """Write plan.json once; the first writer wins and its plan is returned. A torn file is replaced."""
    text = durable.to_text(plan.as_json())
    if durable.write_once(paths.plan, text, root=paths.state_dir):
        return plan
    content = durable.read_json(paths.plan, root=paths.state_dir)
    try:
        return plan_of(content or {})
    except ValueError as error:
        words = error if content else "it is torn, or no JSON object"
    logger.warning("%s: no plan that could be followed (%s). It was written again.", paths.plan, words)
    durable.write_durably(paths.plan, text, root=paths.state_dir)
    return plan
