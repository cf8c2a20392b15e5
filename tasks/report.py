"""Report: the last task of a run, and the one to ask for."""

from __future__ import annotations

from collections.abc import Iterator

import luigi

from tasks.backfill_chunk import BackfillChunk
from tasks.core.terminal import tell
from tasks.luigi_support.base_task import PlannedTask, file_target
from tasks.plan_chunks import PlanChunks
from tasks.reporting.close import close_run, report_is_done
from tasks.reporting.so_far import report_so_far
from tasks.runs.frozen_plans import require_plan
from tasks.runs.markers import all_chunks_done
from tasks.runs.plans import Plan
from tasks.seal_log import SealLog


class Report(PlannedTask):
    """Run every chunk of the plan, seal the log, then write report.json and report.md and print a summary."""

    def requires(self) -> PlanChunks:
        return PlanChunks(
            job=self.job, run_id=self.run_id, dry_run=self.dry_run, max_rows=self.max_rows,
            reattest=self.reattest, because=self.because,
        )  # fmt: skip

    def output(self) -> luigi.LocalTarget:
        return file_target(self.paths(self.settings()).report)

    def is_done(self) -> bool:
        settings = self.settings()
        return report_is_done(settings, self.paths(settings), self.max_rows, self.reason())

    def run(self) -> Iterator[luigi.DynamicRequirements | SealLog]:
        settings = self.settings()
        paths = self.paths(settings)
        plan = require_plan(paths, settings)
        chunks = self._chunks(plan)
        yield luigi.DynamicRequirements(chunks, lambda _: all_chunks_done(settings, plan, paths))  # type: ignore[no-untyped-call]
        if not self.dry_run:
            yield SealLog(job=self.job, run_id=self.run_id, dry_run=self.dry_run, max_rows=self.max_rows)
        tell(close_run(settings, paths))

    def so_far(self) -> str:
        settings = self.settings()
        return report_so_far(settings, self.paths(settings))

    def _chunks(self, plan: Plan) -> list[BackfillChunk]:
        return [self._chunk(planned.chunk) for planned in plan.chunks]

    def _chunk(self, chunk: int) -> BackfillChunk:
        return BackfillChunk(
            job=self.job, run_id=self.run_id, dry_run=self.dry_run, max_rows=self.max_rows,
            reattest=self.reattest, because=self.because, chunk=chunk,
        )  # fmt: skip
