"""Facts that were attested more than once: does the log say why what is attested of them changed?

Two leaves of one fact, with no row of it between them, are a succession. The later one may attest something else than
the earlier one if its notes say so: an update, or an operator's reattestation. Such notes are written since there is a
ledger of batches; before the first of them nothing can be said, and nothing is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from tasks.attestation.log.findings import Finding, Verdict
from tasks.attestation.log.leaves import NO_DIGEST
from tasks.attestation.log.rotation_record import is_rotation
from tasks.attestation.supersession import supersession_in
from tasks.stores.protocols.sealed_log import SealedLog, Tile, TileHead

_TILES_KEPT = 16


@dataclass(frozen=True)
class Reattested:
    """A fact that was attested anew at an operator's word."""

    leaf: int
    attestation_id: int
    fact_id: str
    supersedes: int
    because: str | None


class Succession(NamedTuple):
    """A row of the log and the next one about the same fact. Columns as stored; text that is not UTF-8 is NotUtf8."""

    earlier: int
    later: int
    fact_id: Any
    notes: Any


def notes_are_written_from(session: SealedLog) -> int | None:
    """The first attestation that would say what it supersedes, by the ledger or by a note; None if there is none."""
    if session.binding.log.notes is None:
        return None
    first = session.first_batch_attestation()
    for attestation_id, notes in session.rows_that_supersede(before=first):
        record = supersession_in(notes)
        if record is not None and record.kind != "re-signed":
            return attestation_id
    return first


class Successions:
    """Judges the successions that begin in a tile. Memory: the head of every tile, and a few tiles."""

    def __init__(self, session: SealedLog, noted_from: int) -> None:
        self._session = session
        self._noted_from = noted_from
        self._tile = lru_cache(maxsize=_TILES_KEPT)(self._read_tile)

    def judge(self, tile: Tile) -> Iterator[Finding | Reattested]:
        """What there is to tell of the rows of a tile that are not the latest of their fact."""
        leaves = _leaves(tile)
        rows = self._session.read_successions(tile.attestation_ids[0], tile.attestation_ids[-1])
        for succession in map(Succession._make, rows):
            leaf = leaves.get(succession.earlier)
            if leaf is None or type(succession.fact_id) is not str or is_rotation(succession.fact_id):
                continue
            later = self._sealed(succession.later)
            told = self._judge(succession, tile.digest(leaf), *later) if later else None
            if told is not None:
                yield told

    def _judge(self, succession: Succession, was: bytes, leaf: int, digest: bytes) -> Finding | Reattested | None:
        earlier, later, fact_id, notes = succession
        record = supersession_in(notes)
        if record is not None and record.supersedes == earlier and record.kind != "re-signed":
            return Reattested(leaf, later, fact_id, earlier, record.because) if record.because is not None else None
        if later < self._noted_from or was == digest or NO_DIGEST in (was, digest):
            return None
        detail = f"it attests something else than attestation {earlier} did, and its notes do not say why"
        return Finding(Verdict.CONTENT_CHANGED, detail, leaf, later, fact_id)

    @cached_property
    def _heads(self) -> tuple[list[TileHead], list[int]]:
        heads = self._session.layout()
        return heads, [head.first_id for head in heads]

    def _sealed(self, attestation_id: int) -> tuple[int, bytes] | None:
        """The leaf of an attestation and its payload digest; None if it is not sealed."""
        heads, first_ids = self._heads
        at = bisect_right(first_ids, attestation_id) - 1
        if at < 0 or attestation_id > heads[at].last_id:
            return None
        tile, leaves = self._tile(at)
        leaf = leaves.get(attestation_id)
        return None if leaf is None else (leaf, tile.digest(leaf))

    def _read_tile(self, at: int) -> tuple[Tile, dict[int, int]]:
        tile = self._session.read_tile(self._heads[0][at])
        return tile, _leaves(tile)


def _leaves(tile: Tile) -> dict[int, int]:
    """Attestation id to leaf."""
    return {attestation_id: leaf for leaf, attestation_id in enumerate(tile.attestation_ids, tile.first_leaf)}
