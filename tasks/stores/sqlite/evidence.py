"""What the log and the metadata say of one fact."""

from __future__ import annotations

from typing import Any

from tasks.core.values import Record
from tasks.stores.sqlite.key_parameters import decode_row
from tasks.stores.sqlite.runner import StatementRunner


class Evidence(StatementRunner):
    """Looks up what one fact is attested with. See the protocol for what each method promises."""

    def old_metadata(self, fact_id: str) -> Record | None:
        try:
            rows = self._run("old_metadata", fact_id=fact_id)
        except UnicodeDecodeError:
            return None
        if not rows:
            return None
        source_doc, extracted_at, _, lower, upper = rows[0]
        return Record(fact_id, source_doc, extracted_at, lower, upper)

    def latest_attestation(self, fact_id: str) -> int | None:
        found: int | None = self._run("latest_attestation", fact_id=fact_id)[0][0]
        return found

    def attested_metadata(self, fact_id: str) -> tuple[Any, ...] | None:
        rows = self._run("attested_metadata", fact_id=fact_id)
        return decode_row(rows[0]) if rows else None
