"""SealLog: after the chunks, the new rows of the attestation log become leaves of a signed tree."""

from __future__ import annotations

import luigi

from tasks.luigi_support.base_task import RunTask, file_target
from tasks.luigi_support.parameters import OptionalWholeNumber
from tasks.schema_verify import SchemaVerify
from tasks.sealed_log.seal import is_sealed, seal_run


class SealLog(RunTask):
    """Seal every row that the log holds when it runs, and leave seal.json. Without a key it counts them instead."""

    max_rows: luigi.Parameter[int | None] = OptionalWholeNumber(  # type: ignore[assignment]
        default=None, description="no effect", significant=False
    )

    def requires(self) -> SchemaVerify:
        return SchemaVerify(job=self.job, run_id=self.run_id, dry_run=self.dry_run, max_rows=self.max_rows)

    def output(self) -> luigi.LocalTarget:
        return file_target(self.paths(self.settings()).seal)

    def is_done(self) -> bool:
        settings = self.settings()
        return is_sealed(settings, self.paths(settings))

    def run(self) -> None:
        settings = self.settings()
        seal_run(settings, self.paths(settings))
