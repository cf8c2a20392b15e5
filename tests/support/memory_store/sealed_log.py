"""The sealed log in memory: rows of the log to seal, the tiles that hold them, and the checkpoints over those."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from support.memory_store.connection import Connection
from support.memory_store.shape import binding_of
from support.memory_store.state import LogEntry, State

from tasks.attestation.log.leaves import AttestedRow, LatestRow, LogRow, PayloadRow
from tasks.attestation.log.rotation_record import RotationRow, is_rotation
from tasks.attestation.signature_column import PLACEHOLDER_HEX
from tasks.contract.binding import SidecarBinding
from tasks.stores.protocols.sealed_log import NewCheckpoint, StoredCheckpoint, Tile, TileHead


class MemoryLogSession(Connection):
    """See the protocols for what each method promises."""

    @property
    def binding(self) -> SidecarBinding:
        return binding_of(self._settings).sidecar

    # -- rows of the log -----------------------------------------------------------------------------

    def _between(self, first: int, last: int) -> list[LogEntry]:
        return [entry for entry in self._state.log.values() if first <= entry.attestation_id <= last]

    def last_attestation_id(self) -> int | None:
        return max(self._state.log, default=None)

    def count_all_rows(self) -> int:
        return len(self._state.log)

    def count_rows(self, first: int, last: int) -> int:
        return len(self._between(first, last))

    def end_of_rows(self, first: int, last: int, rows: int) -> int | None:
        found = self._between(first, last)
        return found[rows - 1].attestation_id if len(found) >= rows else None

    def read_rows(self, first: int, last: int) -> list[LogRow]:
        return [log_row(entry) for entry in self._between(first, last)]

    def read_log_row(self, attestation_id: int) -> LogRow | None:
        entry = self._state.log.get(attestation_id)
        return log_row(entry) if entry else None

    def read_attested(self, first: int, last: int) -> list[AttestedRow]:
        found = []
        for entry in self._between(first, last):
            signature, payload = self._metadata(entry.fact_id)
            latest = int(self._is_latest(entry)) if entry.signature_hex == PLACEHOLDER_HEX else None
            found.append(AttestedRow(*log_row(entry), *payload, signature, latest))
        return found

    def _is_latest(self, entry: LogEntry) -> bool:
        return self._state.logged(entry.fact_id)[-1] == entry

    def _metadata(self, fact_id: str) -> tuple[Any, PayloadRow]:
        """The signature column of a fact and the columns of its payload; None throughout where there is no row."""
        row = self._state.metadata.get(fact_id)
        if row is None:
            return None, PayloadRow(*[None] * len(PayloadRow._fields))
        return row.ed25519_sig, PayloadRow(*(getattr(row, name) for name in PayloadRow._fields))

    # -- sealing -------------------------------------------------------------------------------------

    def last_checkpoint(self) -> StoredCheckpoint | None:
        return self._state.checkpoints[-1].checkpoint if self._state.checkpoints else None

    def checkpoints(self) -> list[StoredCheckpoint]:
        return [new.checkpoint for new in self._state.checkpoints]

    def leaves_of_run(self, run_id: str) -> int:
        return sum(new.checkpoint.tree_size - new.grows_from for new in self._state.checkpoints if new.run_id == run_id)

    def last_attestation_of_run(self, run_id: str) -> int | None:
        lasts = [batch.last_attestation_id for of, batch in self._state.batches if of == run_id]
        return max((last for last in lasts if last is not None), default=None)

    def append(self, new: NewCheckpoint) -> bool:
        with self._transaction() as state:
            if (state.checkpoints[-1].checkpoint.tree_size if state.checkpoints else 0) != new.grows_from:
                return False
            state.tiles |= {tile.first_leaf: tile for tile in new.tiles}
            state.checkpoints.append(new)
        return True

    def append_rotation(self, *, fact_id: str, attester: str, signature_hex: str, notes: str, now: str) -> int:
        with self._transaction() as state:
            return state.append_log(fact_id, attester, now, signature_hex, notes)

    # -- tiles ---------------------------------------------------------------------------------------

    def layout(self) -> list[TileHead]:
        return layout(self._state)

    def read_tile(self, head: TileHead) -> Tile:
        return self._state.tiles[head.first_leaf]

    # -- the metadata against the log ----------------------------------------------------------------

    def read_latest(self, first: int, last: int) -> list[LatestRow]:
        found = []
        for entry in filter(self._is_latest, self._between(first, last)):
            signature, payload = self._metadata(entry.fact_id)
            found.append(LatestRow(entry.attestation_id, entry.fact_id, entry.signature_hex, signature, *payload))
        return found

    def read_metadata(self, fact_id: str) -> tuple[object, PayloadRow] | None:
        return self._metadata(fact_id) if fact_id in self._state.metadata else None

    def read_successions(self, first: int, last: int) -> list[Any]:
        found = []
        for entry in self._between(first, last):
            later = [one for one in self._state.logged(entry.fact_id) if one.attestation_id > entry.attestation_id]
            found += [(entry.attestation_id, one.attestation_id, one.fact_id, one.notes) for one in later[:1]]
        return found

    def first_batch_attestation(self) -> int | None:
        firsts = [batch.first_attestation_id for _, batch in self._state.batches]
        return min((first for first in firsts if first is not None), default=None)

    def rows_that_supersede(self, *, before: int | None) -> Iterator[tuple[int, object]]:
        for entry in self._state.log.values():
            if entry.notes is not None and (before is None or entry.attestation_id < before):
                yield entry.attestation_id, entry.notes

    def unlogged(self) -> Iterator[object]:
        logged = {entry.fact_id for entry in self._state.log.values()}
        return (fact_id for fact_id in sorted(self._state.metadata) if fact_id not in logged)

    def latest_of_fact(self, fact_id: str) -> int | None:
        return max((entry.attestation_id for entry in self._state.logged(fact_id)), default=None)

    def has_older(self, fact_id: str, signature_hex: str, *, before: int) -> bool:
        older = [entry for entry in self._state.logged(fact_id) if entry.attestation_id < before]
        return any(entry.signature_hex == signature_hex for entry in older)

    def rotations(self) -> list[RotationRow]:
        entries = [entry for entry in self._state.log.values() if is_rotation(entry.fact_id)]
        return [RotationRow(entry.attestation_id, entry.fact_id, entry.signature_hex, entry.notes) for entry in entries]


def log_row(entry: LogEntry) -> LogRow:
    return LogRow(*(getattr(entry, name) for name in LogRow._fields))


def layout(state: State) -> list[TileHead]:
    """The tiles without what is large, in leaf order."""
    return [
        TileHead(
            tile.first_leaf, tile.leaves, tile.attestation_ids[0], tile.attestation_ids[-1], tile.roots,
            None if tile.packed_ids is None else len(tile.packed_ids), len(tile.marks), len(tile.digests),
        )
        for _, tile in sorted(state.tiles.items())
    ]  # fmt: skip
