"""The session that signs what is pending: a run's session, with guarded updates."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from support.memory_store.rows import attested_row, fact_ids
from support.memory_store.session import MemorySession
from support.memory_store.state import Database, MetadataRow, State

from tasks.attestation.signature_column import SignatureColumn, parse
from tasks.core.fact_keys import Key
from tasks.job.settings import Settings
from tasks.stores.protocols.batches import LedgerStep
from tasks.stores.protocols.pending import PendingRead, PendingRow, SignatureWrite


class MemoryPendingSession(MemorySession):
    """See the protocols for what each method promises."""

    def __init__(self, database: Database, settings: Settings, *, write: bool, revoked: Collection[str]) -> None:
        super().__init__(database, settings, write=write)
        self._revoked = {bytes.fromhex(key_id) for key_id in revoked}

    def _is_pending(self, fact_id: str) -> bool:
        column = parse(self._state.metadata[fact_id].ed25519_sig)
        return isinstance(column, SignatureColumn) and (column.is_placeholder or column.key_id in self._revoked)

    def pending_keys(self) -> Iterator[Key]:
        return filter(self._is_pending, fact_ids(self._state))

    def count_pending(self) -> int:
        return sum(map(self._is_pending, self._state.metadata))

    def read_pending(self, *, after: Key, through: Key, limit: int) -> PendingRead:
        found = [*filter(self._is_pending, fact_ids(self._state, after, through))][:limit]
        exhausted = len(found) < limit
        return PendingRead(
            [self._pending(fact_id) for fact_id in found], through if exhausted else found[-1], exhausted
        )

    def _pending(self, fact_id: str) -> PendingRow:
        row, logged = attested_row(self._state, fact_id), self._state.logged(fact_id)
        assert row is not None  # its fact has metadata
        attester, signed_at = (logged[-1].attester, logged[-1].signed_at) if logged else (None, None)
        updated_at = self._state.metadata[fact_id].updated_at
        return PendingRow._make((*row[:9], updated_at, attester, signed_at, row.ever_signed))

    def fact(self, fact_id: str) -> tuple[Any, ...] | None:
        """An integer key goes before a text key that reads the same: it is the one that is attested."""
        same = [fact for fact in self._keyed() if isinstance(fact.key, (int, str)) and str(fact.key) == fact_id]
        return (*self._fact(same[0])[:5], 1) if same else None

    def write_signatures(self, step: LedgerStep, signatures: Sequence[SignatureWrite]) -> bool:
        with self._transaction() as state:
            if self._is_overtaken(state, step) or not all(_is_as_read(state, signature) for signature in signatures):
                return False
            self._advance(state, step, [_sign(state, signature, step.now) for signature in signatures])
        return True


def _is_as_read(state: State, signature: SignatureWrite) -> bool:
    """Whether a row, and what the log says of it, are still what they were when it was read."""
    row, logged = state.metadata.get(signature.fact_id), state.logged(signature.fact_id)
    return row is not None and row[:7] == signature[:7] and logged[-1].attestation_id == signature.superseded


def _sign(state: State, signature: SignatureWrite, now: str) -> int:
    row: MetadataRow = state.metadata[signature.fact_id]
    state.metadata[row.fact_id] = row._replace(ed25519_sig=signature.ed25519_sig, updated_at=now)
    return state.append_log(row.fact_id, signature.verified_by, now, signature.signature_hex, signature.notes)
