"""SchemaVerify: the gate before anything is planned or written."""

from __future__ import annotations

import luigi

from tasks.luigi_support.base_task import RunTask, file_target
from tasks.luigi_support.parameters import Flag, OptionalWholeNumber
from tasks.runs.gate import gate_schema, is_gated


class SchemaVerify(RunTask):
    """Resolve the contract against the real database, compile every statement, write schema.json.

    Complete while schema.json shows the database as it is now; once the schema changed, the gate must be
    passed again.
    """

    dry_run: luigi.Parameter[bool] = Flag(description="a dry run never rolls back a journal", significant=False)
    max_rows: luigi.Parameter[int | None] = OptionalWholeNumber(  # type: ignore[assignment]
        default=None, description="no effect", significant=False
    )

    def output(self) -> luigi.LocalTarget:
        return file_target(self.paths(self.settings()).schema)

    def is_done(self) -> bool:
        settings = self.settings()
        return is_gated(settings, self.paths(settings))

    def run(self) -> None:
        settings = self.settings()
        gate_schema(settings, self.paths(settings))
