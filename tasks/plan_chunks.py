"""PlanChunks: freezes what a run covers."""

from __future__ import annotations

import luigi

from tasks.backfill.plan_backfill import plan_backfill
from tasks.core.clock import now_text
from tasks.luigi_support.base_task import PlannedTask, file_target
from tasks.luigi_support.parameters import Flag
from tasks.runs.frozen_plans import read_plan, refuse_other_budget, refuse_other_reattestation
from tasks.schema_verify import SchemaVerify


class PlanChunks(PlannedTask):
    """Cut the residual facts into chunks and write plan.json, once per run; dry and live run share it."""

    dry_run: luigi.Parameter[bool] = Flag(description="no effect: dry and live run share the plan", significant=False)

    def requires(self) -> SchemaVerify:
        return SchemaVerify(job=self.job, run_id=self.run_id, dry_run=self.dry_run, max_rows=self.max_rows)

    def output(self) -> luigi.LocalTarget:
        return file_target(self.paths(self.settings()).plan)

    def is_done(self) -> bool:
        settings = self.settings()
        paths = self.paths(settings)
        plan = read_plan(paths, settings)
        if plan is not None:
            refuse_other_budget(plan, paths, self.max_rows)
            refuse_other_reattestation(plan, paths, self.reason())
        return plan is not None

    def run(self) -> None:
        settings = self.settings()
        because = self.reason()
        plan_backfill(settings, self.paths(settings), max_rows=self.max_rows, created_at=now_text(), because=because)
