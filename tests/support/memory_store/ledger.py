"""The ledger: runs, chunks, batches and rejects, as they were committed."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from dataclasses import replace
from typing import Any

from support.memory_store.plain import MemoryPlainFacts
from support.memory_store.state import Rejected, Run

from tasks.core.errors import LockedError
from tasks.core.fact_keys import Key
from tasks.stores.protocols.counts import Counts
from tasks.stores.protocols.ledger import LedgerBatch, LedgerRow, RunKind, RunRow


class MemoryLedger(MemoryPlainFacts):
    """See the protocols for what each method promises."""

    # -- runs ----------------------------------------------------------------------------------------

    def read_run(self, run_id: str) -> RunRow | None:
        run = self._state.runs.get(run_id)
        return run.row if run else None

    def open_run(
        self, *, run_id: str, kind: RunKind, plan_id: str, plan: str, now: str, attester: str, key_id: str | None
    ) -> None:
        row = RunRow(plan_id, plan, now, None, attester, key_id)
        with self._transaction() as state:
            state.runs.setdefault(run_id, Run(kind, row))

    def finish_run(self, *, run_id: str, now: str, stop_reason: str, remaining: int) -> None:
        with self._transaction() as state:
            run = state.runs.get(run_id)
            if run is not None and run.row.finished_at is None:
                done = Run(run.kind, replace(run.row, finished_at=now), stop_reason, remaining)
                state.runs[run_id] = done

    def stop_run(self, *, run_id: str, stop_reason: str) -> None:
        with self._transaction() as state:
            run = state.runs.get(run_id)
            if run is not None and run.row.finished_at is None:
                state.runs[run_id] = run._replace(stop_reason=stop_reason)

    def last_budgeted_run(self, run_id: str) -> tuple[str, int] | None:
        for known, run in reversed(self._state.runs.items()):
            if known != run_id and _has_budget(run) and run.row.finished_at and run.remaining is not None:
                return run.row.finished_at, run.remaining
        return None

    def last_budgeted_key(self) -> Key:
        last = next((run_id for run_id, run in reversed(self._state.runs.items()) if _has_budget(run)), None)
        chunks = sorted((row for (run_id, _), row in self._state.chunks.items() if run_id == last), key=_number)
        begun = [row for row in chunks if row.cursor is not None]
        unfinished = [row for row in begun if row.state != "done"]
        return unfinished[0].cursor if unfinished else begun[-1].cursor if begun else None

    # -- chunks --------------------------------------------------------------------------------------

    def read_chunk(self, run_id: str, chunk: int) -> LedgerRow | None:
        return self._state.chunks.get((run_id, chunk))

    def read_chunks(self, run_id: str) -> list[LedgerRow]:
        return sorted((row for (of, _), row in self._state.chunks.items() if of == run_id), key=_number)

    def claim_chunk(self, *, run_id: str, plan_id: str, chunk: int, after: Key, through: Key, now: str) -> LedgerRow:
        name, host, pid = (run_id, chunk), socket.gethostname(), os.getpid()
        new = LedgerRow(
            chunk, plan_id, after, through, after, Counts(), "running", 0, host, pid, started_at=now, finished_at=None,
            seconds=0.0,
        )  # fmt: skip
        with self._transaction() as state:
            row = state.chunks.get(name, new)
            if row.state == "running" and row.plan_id == plan_id:
                row = state.chunks[name] = replace(row, attempts=row.attempts + 1, host=host, pid=pid)
        return row

    def note_failure(self, *, run_id: str, chunk: int, error: str, now: str) -> None:
        try:
            with self._transaction(patience=0) as state:
                state.failures[run_id, chunk] = error
        except LockedError:
            return

    def read_batches(self, run_id: str, *, chunk: int | None = None) -> list[LedgerBatch]:
        found = [batch for of, batch in self._state.batches if of == run_id and chunk in (None, batch.chunk)]
        return sorted(found, key=_number)

    def count_log_rows(self, *, attester: str | None, first: int, last: int) -> int:
        log = self._state.log.values()
        return sum(attester in (None, entry.attester) and first <= entry.attestation_id <= last for entry in log)

    def settled_by(self, run_id: str) -> tuple[int, int]:
        counts = [row.counts for row in self.read_chunks(run_id)]
        return sum(one.inserted + one.updated for one in counts), sum(one.rejected for one in counts)

    # -- rejects -------------------------------------------------------------------------------------

    def _rejects(self, run_id: str | None) -> list[Rejected]:
        return [one for one in self._state.rejects if run_id is None or one.run_id == run_id]

    def was_rejected(self, fact_id: str, reason: str) -> bool:
        return any(one.reject[:2] == (fact_id, reason) for one in self._rejects(None))

    def was_rejected_by(self, run_id: str | None, fact_id: str) -> bool:
        return any(one.reject.fact_id == fact_id for one in self._rejects(run_id))

    def count_new_rejects(self, run_id: str) -> int:
        firsts = {one.reject[:2]: one.run_id for one in reversed(self._state.rejects)}
        return sum(first == run_id for first in firsts.values())

    def count_rejected_residual(self, run_id: str) -> int:
        rejects = self._rejects(run_id)
        aside = min(sum(one.is_set_aside for one in rejects), self.count_set_aside().total)
        fact_ids = {one.reject.fact_id for one in rejects if not one.is_set_aside}
        return aside + sum(isinstance(key, (int, str)) and str(key) in fact_ids for key, *_ in self.residual_facts())

    def count_rejects(self, run_id: str) -> dict[int, int]:
        return dict(Counter(one.chunk for one in self._rejects(run_id)))

    def reject_reasons(self, run_id: str) -> dict[str, int]:
        return dict(sorted(Counter(one.reject.reason for one in self._rejects(run_id)).items()))

    def reject_sample(self, run_id: str) -> list[dict[str, Any]]:
        return [{**one.reject._asdict(), "chunk": one.chunk} for one in self._rejects(run_id)[:20]]


def _number(row: LedgerRow | LedgerBatch) -> int:
    return row.chunk


def _has_budget(run: Run) -> bool:
    return json.loads(run.row.plan).get("max_rows") is not None
