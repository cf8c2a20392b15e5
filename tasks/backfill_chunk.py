"""BackfillChunk: one key range of a plan, with a marker as its target."""

from __future__ import annotations

import luigi

from tasks.backfill.attempt import run_chunk
from tasks.core.errors import ProvenanceError
from tasks.luigi_support.base_task import PlannedTask, file_target
from tasks.luigi_support.parameters import WholeNumber
from tasks.luigi_support.progress import ProgressReporter
from tasks.plan_chunks import PlanChunks
from tasks.runs.frozen_plans import read_plan
from tasks.runs.markers import chunk_is_done


class BackfillChunk(PlannedTask):
    """Write the provenance of one chunk, or rehearse it. Can be run alone, again, in any order."""

    chunk: luigi.Parameter[int] = WholeNumber(description="number of the chunk, from 1")

    def requires(self) -> PlanChunks:
        return PlanChunks(
            job=self.job, run_id=self.run_id, dry_run=self.dry_run, max_rows=self._budget(),
            reattest=self.reattest, because=self.because,
        )  # fmt: skip

    def output(self) -> luigi.LocalTarget:
        return file_target(self.paths(self.settings()).marker(self.chunk))

    def is_done(self) -> bool:
        settings = self.settings()
        return chunk_is_done(settings, self.paths(settings), self.chunk)

    def run(self) -> None:
        settings = self.settings()
        run_chunk(settings, self.paths(settings), self.chunk, progress=ProgressReporter(self))

    def _budget(self) -> int | None:
        """One chunk again, by its number alone, goes with the plan that is there. An operator's word is given anew."""
        try:
            settings = self.settings()
            plan = read_plan(self.paths(settings), settings) if self.max_rows is None else None
        except ProvenanceError:  # what is wrong is said by the task that runs first
            plan = None
        return plan.max_rows if plan else self.max_rows
