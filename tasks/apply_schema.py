"""ApplySchema: creates the sidecar and ledger tables that are missing."""

from __future__ import annotations

from tasks.core.terminal import tell
from tasks.luigi_support.base_task import JobTask
from tasks.stores.open import open_store


class ApplySchema(JobTask):
    """Create what is missing of the job's own tables, indexes and views; never alter, never drop."""

    def is_done(self) -> bool:
        return open_store(self.settings()).is_applied()

    def run(self) -> None:
        settings = self.settings()
        for line in open_store(settings).apply_schema().told(settings):
            tell(line)
