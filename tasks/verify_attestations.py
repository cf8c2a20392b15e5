"""VerifyAttestations: every metadata row to its state, chunk by chunk, with a report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import luigi

from tasks.attestation.public_keys import DEFAULT_REGISTRY, load_registry
from tasks.core.clock import now_text
from tasks.core.terminal import tell
from tasks.job.paths import PartPaths, verify_paths
from tasks.luigi_support.base_task import JobTask, file_target, run_id_parameter
from tasks.luigi_support.parameters import Flag, Text, WholeNumber
from tasks.luigi_support.progress import ProgressReporter
from tasks.reporting.close_verification import close_verification, verification_has_passed
from tasks.rows.verify_runs import current_plan, plan_run, read_verdict, require_plan, run_chunk


class VerificationTask(JobTask):
    """A task of one verification."""

    run_id: luigi.Parameter[str] = run_id_parameter()
    keys: luigi.Parameter[str] = Text(default=DEFAULT_REGISTRY, description="path of the registry of keys")

    def paths(self) -> PartPaths:
        return verify_paths(self.settings().state_dir, self.run_id)


class PlanVerification(VerificationTask):
    """Cut the rows into chunks and write verify/plan.json."""

    asked_at: luigi.Parameter[str] = Text(significant=False, description="when the question was asked")

    def output(self) -> luigi.LocalTarget:
        return file_target(self.paths().plan)

    def is_done(self) -> bool:
        registry = load_registry(Path(self.keys))
        return current_plan(self.settings(), registry, self.paths(), asked_at=self.asked_at) is not None

    def run(self) -> None:
        plan_run(self.settings(), Path(self.keys), self.paths(), asked_at=self.asked_at)


class VerifyChunk(VerificationTask):
    """Verify one key range of a plan."""

    plan_id: luigi.Parameter[str] = Text(description="digest of the plan")
    chunk: luigi.Parameter[int] = WholeNumber(description="number of the chunk, from 1")

    def output(self) -> luigi.LocalTarget:
        return file_target(self.paths().marker(self.chunk))

    def is_done(self) -> bool:
        return read_verdict(self.plan_id, self.paths(), self.chunk) is not None

    def run(self) -> None:
        keys, paths, progress = Path(self.keys), self.paths(), ProgressReporter(self)
        run_chunk(self.settings(), keys, paths, self.plan_id, self.chunk, progress=progress)


class VerifyAttestations(VerificationTask):
    """Verify every metadata row, and fail unless all are valid. Never complete by what an earlier command found."""

    allow_unsigned: luigi.Parameter[bool] = Flag(description="accept placeholders, and count them")
    asked_at: luigi.Parameter[str] = Text(
        default=now_text(), significant=False, description="when the question was asked; default: now"
    )

    def requires(self) -> PlanVerification:
        return PlanVerification(job=self.job, run_id=self.run_id, keys=self.keys, asked_at=self.asked_at)

    def output(self) -> luigi.LocalTarget:
        return file_target(self.paths().report)

    def is_done(self) -> bool:
        return verification_has_passed(
            self.settings(), Path(self.keys), self.paths(), asked_at=self.asked_at, allow_unsigned=self.allow_unsigned
        )

    def run(self) -> Iterator[luigi.DynamicRequirements]:
        settings, paths, keys = self.settings(), self.paths(), Path(self.keys)
        plan = require_plan(settings, load_registry(keys), paths)
        common = {"job": self.job, "run_id": self.run_id, "keys": self.keys, "plan_id": plan.plan_id}
        chunks = [VerifyChunk(**common, chunk=planned.chunk) for planned in plan.chunks]
        yield luigi.DynamicRequirements(chunks)  # type: ignore[no-untyped-call]
        tell(close_verification(settings, keys, paths, allow_unsigned=self.allow_unsigned))
