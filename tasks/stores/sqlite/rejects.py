"""The facts that runs have rejected, by the ledger."""

from __future__ import annotations

from typing import Any

from tasks.core.errors import RowRefusedError
from tasks.core.values import TOO_LONG, UnreadableFact
from tasks.stores.sqlite.fact_counts import FactCounts
from tasks.stores.sqlite.ledger_rows import reason_row, reject_row, rejects_of_chunk

NULL_KEY_DETAIL = "the key is NULL"


class Rejects(FactCounts):
    """Reads rejects. See the protocol for what each method promises."""

    def was_rejected(self, fact_id: str, reason: str) -> bool:
        return bool(self._run("was_rejected", fact_id=fact_id, reason=reason))

    def was_rejected_by(self, run_id: str | None, fact_id: str) -> bool:
        return bool(self._run("was_rejected_by", run_id=run_id, fact_id=fact_id))

    def count_rejected_residual(self, run_id: str) -> int:
        kept_apart = 0
        if not self.binding.facts.key_is_number:
            values = {"no_key_detail": NULL_KEY_DETAIL, "too_long": TOO_LONG}
            rejected = self._run("count_rejected_set_aside", run_id=run_id, **values)[0][0]
            kept_apart = min(rejected, self.count_set_aside().total) if rejected else 0
        try:
            return kept_apart + int(self._run("count_rejected_residual", run_id=run_id)[0][0])
        except RowRefusedError:  # one of them cannot be read: look at every residual fact
            facts = self.residual_facts()
            fact_ids = (f.reject.fact_id if isinstance(f, UnreadableFact) else str(f[0]) for f in facts)
            return kept_apart + sum(self.was_rejected_by(run_id, fact_id) for fact_id in fact_ids)

    def count_new_rejects(self, run_id: str) -> int:
        return self._count("count_new_rejects", run_id=run_id)

    def count_rejects(self, run_id: str) -> dict[int, int]:
        return dict(self._of_ledger("count_rejects", rejects_of_chunk, run_id=run_id))

    def reject_reasons(self, run_id: str) -> dict[str, int]:
        return dict(self._of_ledger("reject_reasons", reason_row, run_id=run_id))

    def reject_sample(self, run_id: str) -> list[dict[str, Any]]:
        return self._of_ledger("reject_sample", reject_row, run_id=run_id)
