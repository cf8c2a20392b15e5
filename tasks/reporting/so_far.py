"""How far a run came that did not come to its end: for people and programs, and never to be taken for its report.

It has files of its own, report-so-far.json and report-so-far.md, which the report removes once there is one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tasks.core import durable
from tasks.core.clock import now_text
from tasks.core.errors import ProvenanceError
from tasks.core.fact_keys import Key, to_json
from tasks.job.paths import RunPaths
from tasks.job.settings import Settings
from tasks.reporting.markdown import cell, markdown_table
from tasks.runs.frozen_plans import read_plan
from tasks.runs.markers import read_marker
from tasks.runs.plans import Plan
from tasks.stores.open import open_store
from tasks.stores.protocols.counts import Counts
from tasks.stores.protocols.states import DONE

_OUTCOMES = ("inserted", "updated", "rejected")
_COMPLETE = "NOT COMPLETE"
_WAITING, _BEGUN = "waiting", "begun"


@dataclass(frozen=True)
class ChunkSoFar:
    """How far a chunk is: `state` is waiting, begun or done; the cursor is as JSON has it."""

    chunk: int
    state: str
    cursor: Any
    rows: dict[str, int]


@dataclass(frozen=True)
class SoFar:
    """The content of the report so far, in its order. Rows are facts."""

    complete: bool
    run_id: str
    mode: str
    plan_id: str
    as_of: str
    rows: dict[str, int]
    settled: int
    of: int
    chunks_done: int
    chunks_planned: int
    chunks: list[ChunkSoFar]


def report_so_far(settings: Settings, paths: RunPaths) -> str:
    """Write the files of a run that ended early, and give the terminal's summary; empty where nothing is known of it.

    Reads the ledger of a live run, and the markers of a dry one. Never raises for what a user can cause: that has been
    told by the task that failed.
    """
    try:
        plan = read_plan(paths, settings)
        chunks = _chunks(settings, paths, plan) if plan else []
        if plan is None or not any(chunk.state != _WAITING for chunk in chunks):
            return ""
        content = _content(paths, plan, chunks)
        durable.write_durably(paths.so_far, durable.to_text(asdict(content)), root=paths.state_dir)
        durable.write_durably(paths.so_far.with_suffix(".md"), _markdown(content), root=paths.state_dir)
    except ProvenanceError:
        return ""
    return "\n".join([*_lines(content), f"report so far: {paths.so_far}"])


def remove_so_far(paths: RunPaths) -> None:
    """Once a run is complete, what it was before is of no use."""
    for path in (paths.so_far, paths.so_far.with_suffix(".md")):
        path.unlink(missing_ok=True)


def _chunks(settings: Settings, paths: RunPaths, plan: Plan) -> list[ChunkSoFar]:
    """One for each planned chunk."""
    found = _rehearsed(paths, plan) if paths.dry_run else _written(settings, plan)
    none = dict.fromkeys(_OUTCOMES, 0)
    return [found.get(one.chunk) or ChunkSoFar(one.chunk, _WAITING, None, none) for one in plan.chunks]


def _written(settings: Settings, plan: Plan) -> dict[int, ChunkSoFar]:
    with open_store(settings).session(write=False) as session:
        rows = [row for row in session.read_chunks(plan.run_id) if row.plan_id == plan.plan_id]
    return {row.chunk: _chunk(row.chunk, DONE if row.is_done else _BEGUN, row.cursor, row.counts) for row in rows}


def _rehearsed(paths: RunPaths, plan: Plan) -> dict[int, ChunkSoFar]:
    markers = (read_marker(plan, paths, planned.chunk) for planned in plan.chunks)
    return {one.chunk: _chunk(one.chunk, DONE, one.through, one.counts) for one in markers if one}


def _chunk(number: int, state: str, cursor: Key, counts: Counts) -> ChunkSoFar:
    return ChunkSoFar(number, state, to_json(cursor), {name: counts.rows()[name] for name in _OUTCOMES})


def _content(paths: RunPaths, plan: Plan, chunks: list[ChunkSoFar]) -> SoFar:
    rows = {name: sum(chunk.rows[name] for chunk in chunks) for name in _OUTCOMES}
    return SoFar(
        complete=False,
        run_id=plan.run_id,
        mode=paths.mode,
        plan_id=plan.plan_id,
        as_of=now_text(),
        rows=rows,
        settled=sum(rows.values()),
        of=plan.residual,
        chunks_done=sum(chunk.state == DONE for chunk in chunks),
        chunks_planned=len(chunks),
        chunks=chunks,
    )


def _lines(content: SoFar) -> list[str]:
    what = "dry run, nothing was written" if content.mode == "dry-run" else "live run"
    counts = ", ".join(f"{name} {content.rows[name]:,}" for name in _OUTCOMES)
    begun = [f"{c.chunk} (at {c.cursor})" for c in content.chunks if c.state == _BEGUN]
    return [
        f"run {content.run_id} ({what}): {_COMPLETE}. Run the same command again once what is said above is mended.",
        f"  facts so far: {counts}; {content.settled:,} of {content.of:,} that are residual",
        f"  chunks: {content.chunks_done} of {content.chunks_planned} done"
        + (f", begun: {', '.join(begun[:10])}{', …' if len(begun) > 10 else ''}" if begun else ""),
    ]


def _markdown(content: SoFar) -> str:
    rows = [(c.chunk, c.state, c.cursor, *(c.rows[name] for name in _OUTCOMES)) for c in content.chunks]
    lines = "\n".join(f"- {cell(line.strip())}" for line in _lines(content))
    table = markdown_table(("chunk", "state", "cursor", *_OUTCOMES), rows)
    return f"# {_COMPLETE}: run {cell(content.run_id)}\n\n{lines}\n\n{table}\n"
