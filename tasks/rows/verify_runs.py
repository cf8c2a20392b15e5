"""A verification as a run of its own: its plan, its markers and its report under <state_dir>/<run_id>/verify/.

    plan.json                       the chunks, frozen, with a digest over database, rules and registry
    chunks/chunk-000017.json        the verdict over one chunk
    chunks/chunk-000017.findings.jsonl
    verify.json, verify.md          the report
    summary.json                    written last: the report without its facts

A verdict answers the question that was asked, not a later one: a verification that was interrupted goes on where it
stopped, one that has come to its end is never taken for the answer to a command that was given after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tasks.attestation.public_keys import KeyRegistry, load_registry
from tasks.attestation.row_states import STATES
from tasks.core import durable
from tasks.core.clock import now_text
from tasks.core.documents import typed
from tasks.core.errors import NOTHING_WRITTEN, RUN_AGAIN, StateError
from tasks.job.paths import PartPaths
from tasks.job.settings import Settings
from tasks.rows.verify import ChunkVerdict, plan_verification, verify_chunk
from tasks.runs.loop import Progress
from tasks.runs.plans import Plan, plan_from_json

_VERDICTS = TypeAdapter(ChunkVerdict)


def current_plan(settings: Settings, registry: KeyRegistry, paths: PartPaths, *, asked_at: str) -> Plan | None:
    """The plan that answers a question asked at `asked_at`: one that is begun and not finished, or finished since."""
    content = durable.read_json(paths.plan, root=paths.state_dir)
    plan = plan_from_json(content) if content else None
    if plan is None or plan.run_id != paths.run_id:
        return None
    if plan.database != settings.place.absolute:
        return None
    if plan.settings_digest != f"{settings.digest} {registry.digest}":
        return None
    summary = read_summary(paths, plan)
    return plan if summary is None or summary["finished_at"] >= asked_at else None


def read_summary(paths: PartPaths, plan: Plan) -> dict[str, Any] | None:
    """The summary of a finished verification of this plan, or None."""
    summary = durable.read_json(summary_path(paths), root=paths.state_dir)
    return summary if summary is not None and summary.get("plan_id") == plan.plan_id else None


def plan_run(settings: Settings, keys: Path, paths: PartPaths, *, asked_at: str) -> None:
    """Freeze a new plan, unless there is one that answers. What an older one left is ignored from then on."""
    registry = load_registry(keys)
    if current_plan(settings, registry, paths, asked_at=asked_at) is None:
        plan = plan_verification(settings, registry, run_id=paths.run_id, created_at=now_text())
        durable.write_durably(paths.plan, durable.to_text(plan.as_json()), root=paths.state_dir)


def require_plan(settings: Settings, registry: KeyRegistry, paths: PartPaths, plan_id: str | None = None) -> Plan:
    """The plan as it is. Raises StateError if there is none, or not the one that was meant."""
    plan = current_plan(settings, registry, paths, asked_at="")
    if plan is None or (plan_id is not None and plan.plan_id != plan_id):
        raise StateError(
            f"the plan is missing, torn, or was replaced by another verification of run {paths.run_id}",
            where=str(paths.plan),
            hint="Run the same command again, or use a new --run-id",
            written=NOTHING_WRITTEN,
        )
    return plan


def read_verdict(plan_id: str, paths: PartPaths, chunk: int) -> ChunkVerdict | None:
    """The verdict over one chunk of this plan, or None if it is missing, torn, none at all or of another plan."""
    content = durable.read_json(paths.marker(chunk), root=paths.state_dir)
    if content is None or content.pop("plan_id", None) != plan_id:
        return None
    try:
        verdict = typed(_VERDICTS, content)
    except ValueError:
        return None
    adds_up = verdict.states.keys() == set(STATES) and sum(verdict.states.values()) == verdict.rows
    return verdict if adds_up and verdict.chunk == chunk and asdict(verdict) == content else None


def run_chunk(
    settings: Settings,
    keys: Path,
    paths: PartPaths,
    plan_id: str,
    number: int,
    *,
    progress: Callable[[Progress], None],
) -> None:
    """Verify one chunk; its findings are on the disk before its marker is."""
    registry = load_registry(keys)
    plan = require_plan(settings, registry, paths, plan_id)
    verdict = verify_chunk(
        settings, registry, plan.chunk(number), paths.findings(number), root=paths.state_dir, progress=progress
    )
    durable.write_durably(
        paths.marker(number), durable.to_text({"plan_id": plan_id, **asdict(verdict)}), root=paths.state_dir
    )


def require_verdict(plan: Plan, paths: PartPaths, chunk: int) -> ChunkVerdict:
    """The verdict over one chunk. Raises StateError if there is none."""
    verdict = read_verdict(plan.plan_id, paths, chunk)
    if verdict is None:
        raise StateError("missing or torn", where=str(paths.marker(chunk)), again=RUN_AGAIN, written=NOTHING_WRITTEN)
    return verdict


def summary_path(paths: PartPaths) -> Path:
    return paths.report.with_name("summary.json")
