"""SignPending: rows that carry a placeholder, or what a revoked key signed, are signed once a key is there."""

from __future__ import annotations

from collections.abc import Iterator

import luigi

from tasks.core.terminal import tell
from tasks.job.paths import PartPaths, sign_paths
from tasks.luigi_support.base_task import JobTask, file_target, run_id_parameter
from tasks.luigi_support.parameters import WholeNumber
from tasks.luigi_support.progress import ProgressReporter
from tasks.reporting.signing import close_signing, signing_is_done
from tasks.rows.sign_pending import plan_signing, run_chunk
from tasks.runs.frozen_plans import read_plan, require_plan
from tasks.runs.markers import all_chunks_done, chunk_is_done
from tasks.sealed_log.seal import is_sealed, seal_run


class SigningTask(JobTask):
    """A task of one signing."""

    run_id: luigi.Parameter[str] = run_id_parameter()

    def paths(self) -> PartPaths:
        return sign_paths(self.settings().state_dir, self.run_id)


class PlanSigning(SigningTask):
    """Cut the rows that are pending into chunks and write sign/plan.json, once per run id."""

    def output(self) -> luigi.LocalTarget:
        return file_target(self.paths().plan)

    def is_done(self) -> bool:
        return read_plan(self.paths(), self.settings()) is not None

    def run(self) -> None:
        plan_signing(self.settings(), self.paths())


class SignChunk(SigningTask):
    """Sign one chunk. Can be run alone, again, in any order."""

    chunk: luigi.Parameter[int] = WholeNumber(description="number of the chunk, from 1")

    def requires(self) -> PlanSigning:
        return PlanSigning(job=self.job, run_id=self.run_id)

    def output(self) -> luigi.LocalTarget:
        return file_target(self.paths().marker(self.chunk))

    def is_done(self) -> bool:
        return chunk_is_done(self.settings(), self.paths(), self.chunk)

    def run(self) -> None:
        run_chunk(self.settings(), self.paths(), self.chunk, progress=ProgressReporter(self))


class SealSigned(SigningTask):
    """Seal the log once the chunks are signed, and leave sign/seal.json. Without a key its rows are counted instead."""

    def requires(self) -> PlanSigning:
        return PlanSigning(job=self.job, run_id=self.run_id)

    def output(self) -> luigi.LocalTarget:
        return file_target(self.paths().seal)

    def is_done(self) -> bool:
        return is_sealed(self.settings(), self.paths())

    def run(self) -> None:
        seal_run(self.settings(), self.paths())


class SignPending(SigningTask):
    """Sign every row that carries a placeholder, or a revoked key's signature, and is what was logged.

    Then seal the log, and write sign.json and sign.md.
    """

    def requires(self) -> PlanSigning:
        return PlanSigning(job=self.job, run_id=self.run_id)

    def output(self) -> luigi.LocalTarget:
        return file_target(self.paths().report)

    def is_done(self) -> bool:
        return signing_is_done(self.settings(), self.paths())

    def run(self) -> Iterator[luigi.DynamicRequirements | SealSigned]:
        settings, paths = self.settings(), self.paths()
        plan = require_plan(paths, settings)
        chunks = [SignChunk(job=self.job, run_id=self.run_id, chunk=planned.chunk) for planned in plan.chunks]
        yield luigi.DynamicRequirements(chunks, lambda _: all_chunks_done(settings, plan, paths))  # type: ignore[no-untyped-call]
        yield SealSigned(job=self.job, run_id=self.run_id)
        tell(close_signing(settings, paths))
