"""ApplySchema: creates the sidecar and ledger tables that are missing."""

from __future__ import annotations

from tasks.core.terminal import tell
from tasks.luigi_support.base_task import JobTask
from tasks.stores.sqlite.apply import apply_schema, describe, is_applied


class ApplySchema(JobTask):
    """Create what is missing of the job's own tables, indexes and views; never alter, never drop."""

    def is_done(self) -> bool:
        return is_applied(self.settings())

    def run(self) -> None:
        settings = self.settings()
        for line in describe(apply_schema(settings), settings):
            tell(line)
