"""Markers: files that project finished rows of the ledger, so that Luigi and people can see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.core import durable
from tasks.core.errors import NOTHING_WRITTEN, StateError
from tasks.core.fact_keys import to_json
from tasks.job.paths import RunPaths
from tasks.job.settings import Settings
from tasks.runs.ledger import done_chunks
from tasks.runs.plans import Plan, PlannedChunk, read_plan
from tasks.stores.protocols.ledger import LedgerRow


def chunk_is_done(settings: Settings, paths: RunPaths, chunk: int) -> bool:
    """True if the chunk's marker is whole and of the current plan, and the ledger says the same. A torn marker counts
    as none, and one that the ledger does not bear out too: the chunk is run, and its marker written again.

    Raises StateError if the marker is of another plan, or the plan has no such chunk.
    """
    plan = read_plan(paths, settings)
    return plan is not None and _are_done(settings, paths, plan, [plan.chunk(chunk)])


def all_chunks_done(settings: Settings, plan: Plan, paths: RunPaths) -> bool:
    """`chunk_is_done` of every chunk of the plan."""
    return _are_done(settings, paths, plan, plan.chunks)


def _are_done(settings: Settings, paths: RunPaths, plan: Plan, chunks: Sequence[PlannedChunk]) -> bool:
    """A rehearsal has nothing but its markers: it leaves no trace in the database."""
    if not all(read_marker(plan, paths, planned.chunk) is not None for planned in chunks):
        return False
    return paths.dry_run or {planned.chunk for planned in chunks} <= done_chunks(settings, paths, plan)


def read_marker(plan: Plan, paths: RunPaths, chunk: int) -> dict[str, Any] | None:
    """The marker of a chunk of `plan`, or None if it is missing or torn. Raises StateError for another plan's."""
    path = paths.marker(chunk)
    marker = durable.read_json(path, root=paths.state_dir)
    if marker is None or "plan_id" not in marker or marker.get("chunk") != chunk:
        return None
    if marker["plan_id"] != plan.plan_id:
        raise StateError(
            f"marker {path} belongs to plan {str(marker['plan_id'])[:12]}…, the current plan is {plan.plan_id[:12]}…",
            hint="Use a new --run-id",
            written=NOTHING_WRITTEN,
        )
    return marker


def signatures(*, signed: int, placeholder: int, keys: Mapping[str, int], key_id: str | None) -> dict[str, Any]:
    """What markers and reports say of signatures: `key_ids` has the rows of each key, `key_id` is the one that signed
    last. Where nothing was signed it is `key_id` as given.
    """
    latest = [*keys][-1] if keys else key_id
    return {"signed": signed, "placeholder": placeholder, "key_id": latest, "key_ids": dict(keys)}


def live_marker(plan: Plan, row: LedgerRow, keys: Mapping[str, int], *, key_id: str | None) -> dict[str, Any]:
    """The marker of a finished chunk: a projection of its ledger row and of `rows_by_key` of its batches, no more."""
    return {
        "run_id": plan.run_id,
        "plan_id": row.plan_id,
        "mode": "live",
        "chunk": row.chunk,
        "after": to_json(row.after),
        "through": to_json(row.through),
        "rows": row.counts.rows(),
        "signatures": signatures(
            signed=row.counts.signed, placeholder=row.counts.placeholder, keys=keys, key_id=key_id
        ),
        "created_at_missing": row.counts.created_at_missing,
        "confidence_not_numeric": row.counts.confidence_not_numeric,
        "seconds": round(row.seconds, 3),
        "attempts": row.attempts,
        "host": row.host,
        "pid": row.pid,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    }


def foreseen_keys(key_id: str | None, signed: int) -> dict[str, int]:
    """`rows_by_key` of a rehearsal, which has one key."""
    return {key_id: signed} if key_id and signed else {}
