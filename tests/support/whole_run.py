"""A whole run in this process, without Luigi."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tasks.backfill.attempt import run_chunk
from tasks.backfill.plan_backfill import plan_backfill
from tasks.core.clock import now_text
from tasks.job.paths import RunPaths
from tasks.job.settings import Settings
from tasks.reporting.close import close_run
from tasks.runs.frozen_plans import read_plan
from tasks.runs.gate import gate_schema
from tasks.runs.markers import chunk_is_done
from tasks.sealed_log.seal import is_sealed, seal_run

CREATED_AT = f"{now_text()[:10]}T00:00:00.000Z"  # today: a plan of another time than its run is refused


def whole_run(
    settings: Settings,
    run_id: str = "run-1",
    *,
    dry_run: bool = False,
    max_rows: int | None = None,
    created_at: str = CREATED_AT,
    because: str | None = None,
) -> dict[str, Any]:
    """What the four tasks do, without the chunks that are done. Gives the content of report.json."""
    paths = RunPaths(Path(settings.state_dir), run_id, dry_run)
    gate_schema(settings, paths)
    plan = read_plan(paths, settings) or plan_backfill(
        settings, paths, max_rows=max_rows, created_at=created_at, because=because
    )
    for planned in plan.chunks:
        if not chunk_is_done(settings, paths, planned.chunk):
            run_chunk(settings, paths, planned.chunk, progress=lambda _: None)
    if not is_sealed(settings, paths):
        seal_run(settings, paths)
    close_run(settings, paths)
    report: dict[str, Any] = json.loads(paths.report.read_text(encoding="utf-8"))
    return report
