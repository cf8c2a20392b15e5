"""The reader of metadata and log, for verification and explanation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from support.memory_store.connection import Connection
from support.memory_store.rows import attested_row, fact_ids
from support.memory_store.sealed_log import layout
from support.memory_store.shape import attestation_binding_of

from tasks.core.errors import SealError
from tasks.core.fact_keys import Key
from tasks.stores.protocols.attestations import Attestation, Provenance, RowsRead
from tasks.stores.protocols.sealed_log import FIRST_ID, break_in


class MemoryAttestations(Connection):
    """See the protocols for what each method promises."""

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(b"a store in memory").hexdigest()

    @property
    def binding_digest(self) -> str:
        return attestation_binding_of(self._settings).digest

    def count_rows(self) -> int:
        return len(self._state.metadata)

    def count_null_keys(self) -> int:
        return 0

    def key_after(self, after: Key, *, rows: int) -> Key:
        found = fact_ids(self._state, after)
        return found[rows - 1] if len(found) >= rows else None

    def last_key(self) -> Key:
        return next(reversed(fact_ids(self._state)), None)

    def read_rows(self, *, after: Key, through: Key, limit: int) -> RowsRead:
        found = fact_ids(self._state, after, through)[:limit]
        exhausted = len(found) < limit
        rows = [row for row in (attested_row(self._state, fact_id) for fact_id in found) if row is not None]
        return RowsRead(rows, through if exhausted else found[-1], exhausted)

    def read_row(self, fact_id: str) -> tuple[Any, ...] | None:
        return attested_row(self._state, fact_id)

    def logged_before(self, fact_id: str, signature_hex: str) -> int | None:
        found = (entry for entry in self._state.logged(fact_id) if entry.signature_hex == signature_hex)
        return next((entry.attestation_id for entry in found), None)

    def first_id_of_leaf(self, leaf: int) -> int | None:
        heads = layout(self._state)
        if broken := break_in(heads):
            raise SealError(f"tiles of the sealed log: at leaf {broken[0]}: {broken[1]}. Audit the log.")
        for tile in self._state.tiles.values():
            if tile.first_leaf <= leaf < tile.end:
                return tile.attestation_ids[leaf - tile.first_leaf]
        size, last_sealed = (heads[-1].end, heads[-1].last_id) if heads else (0, FIRST_ID)
        behind = [attestation_id for attestation_id in self._state.log if attestation_id > last_sealed]
        return behind[leaf - size] if leaf - size < len(behind) else None

    def chain(self, fact_id: str) -> list[Attestation]:
        return [
            Attestation(*(getattr(entry, name) for name in Attestation._fields))
            for entry in self._state.logged(fact_id)
        ]

    def provenance(self, fact_ids: Sequence[str]) -> dict[str, Provenance]:
        found = {}
        for fact_id in fact_ids:
            row, logged = self._state.metadata.get(fact_id), self._state.logged(fact_id)
            if row is not None:
                latest_signed_at = logged[-1].signed_at if logged else None
                found[fact_id] = Provenance(*row[:7], len(logged), latest_signed_at)
        return found
