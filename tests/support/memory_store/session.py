"""The session of a run: what it reads of facts and ledger, and the batches that it commits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from support.memory_store.facts import bounded
from support.memory_store.ledger import MemoryLedger
from support.memory_store.rows import attested_row
from support.memory_store.shape import binding_of
from support.memory_store.state import MetadataRow, Rejected, State

from tasks.attestation.signature_column import signature_hex
from tasks.contract.binding import Binding
from tasks.core.values import KEY_NOT_TEXT_OR_INTEGER, TOO_LONG, Record, Reject, TooLong
from tasks.stores.protocols.batches import BatchWrite, LedgerStep
from tasks.stores.protocols.counts import NOTED
from tasks.stores.protocols.ledger import LedgerBatch


class MemorySession(MemoryLedger):
    """See the protocols for what each method promises."""

    @property
    def binding(self) -> Binding:
        return binding_of(self._settings)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(b"a store in memory").hexdigest()

    def gate_json(self) -> dict[str, Any]:
        return {
            "engine": {"name": "memory", "version": "1"}, "database": self._settings.database,
            "fingerprint": self.fingerprint, "binding_digest": self.binding.digest, "binding": asdict(self.binding),
            "absences": [], "checks": [], "statements": [],
        }  # fmt: skip

    # -- writing -------------------------------------------------------------------------------------

    def write_batch(self, batch: BatchWrite) -> Sequence[int] | None:
        batch = self._with_staged(batch)
        with self._transaction() as state:
            if self._is_overtaken(state, batch) or self._has_any_moved(state, batch):
                return None
            ids = [
                self._attest(state, batch, record, blob, is_update=bool(is_update))
                for record, blob, _, is_update in batch.in_order
            ]
            self._advance(state, batch, ids)
        return ids

    def _is_overtaken(self, state: State, batch: LedgerStep) -> bool:
        """Whether the ledger, or what is set aside, moved on since the batch was read."""
        row = state.chunks.get((batch.run_id, batch.chunk))
        if row is None or (row.plan_id, row.state, row.cursor) != (batch.plan_id, "running", batch.expected_cursor):
            return True
        return bool(batch.set_aside) and batch.set_aside != self.count_set_aside()

    def _has_any_moved(self, state: State, batch: BatchWrite) -> bool:
        return any(self._has_moved(state, batch, record, bool(is_update)) for record, _, _, is_update in batch.in_order)

    def _has_moved(self, state: State, batch: BatchWrite, record: Record, is_update: bool) -> bool:
        """Whether a fact was written, attested or altered by somebody else."""
        row, logged = state.metadata.get(record.fact_id), state.logged(record.fact_id)
        superseded = batch.superseded.get(record.fact_id)
        if superseded is None:
            return bool(logged) or is_update != (row is not None) or (row is not None and row.source_doc is not None)
        return (
            logged[-1].attestation_id != superseded.attestation_id
            or attested_row(state, record.fact_id) != superseded.row
        )

    def _attest(self, state: State, batch: BatchWrite, record: Record, blob: bytes, *, is_update: bool) -> int:
        """A metadata row, and its row of the log."""
        fact_id, source_doc, extracted_at, lower, upper = record
        state.metadata[fact_id] = MetadataRow(
            fact_id, source_doc, extracted_at, batch.attester, lower, upper, blob, batch.now
        )
        superseded = batch.superseded.get(fact_id)
        notes = superseded.notes if superseded else None
        return state.append_log(fact_id, batch.attester, batch.now, signature_hex(blob), notes)

    def _advance(self, state: State, batch: LedgerStep, ids: Sequence[int]) -> None:
        """The step of the ledger that is committed with what was written."""
        run_id = batch.run_id
        state.rejects += [Rejected(run_id, batch.chunk, reject, False) for reject in batch.rejects]
        if batch.set_aside:
            state.rejects += [Rejected(run_id, batch.chunk, reject, True) for reject in self._set_aside_rejects()]
        row = state.chunks[run_id, batch.chunk]
        state.chunks[run_id, batch.chunk] = replace(
            row, cursor=batch.cursor, counts=row.counts + batch.counts, state=batch.state,
            finished_at=batch.now if batch.state == "done" else None, seconds=row.seconds + batch.seconds,
        )  # fmt: skip
        counts = replace(batch.counts, **dict.fromkeys(NOTED, 0))
        first, last = (ids[0], ids[-1]) if ids else (None, None)
        key_id = batch.key_id if batch.counts.signed else None
        entry = LedgerBatch(
            batch.chunk, batch.expected_cursor, batch.cursor, counts, first, last, key_id, batch.content
        )
        state.batches.append((run_id, entry))

    def _set_aside_rejects(self) -> list[Reject]:
        """What is said of facts without a usable key."""
        longest, found = self._rules.longest_value, []
        for key in (bounded(fact.key, longest) for fact in self._state.facts):
            if key is None:
                found.append(Reject("NULL", KEY_NOT_TEXT_OR_INTEGER, "the key is NULL"))
            elif isinstance(key, TooLong):
                said = f"{key.length} bytes"
                found.append(Reject(f"(a key of {said})", TOO_LONG, f"key: {said}, at most {longest}"))
        return found
