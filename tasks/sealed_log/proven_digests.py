"""The payload digests of the sealed log, believed only as far as they lead to a root that was signed.

1. The last checkpoint is held against the key for checkpoints, or against its published file.
2. The roots of all tiles must lead to its root.
3. A tile is believed once its rows of the log, with its digests, hash to the tile's own roots.

So nobody who writes the database can put another digest, or another row of the log, in place of what was sealed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import lru_cache

from tasks.attestation.log.leaves import leaf_hashes
from tasks.attestation.log.subtrees import subtree_roots
from tasks.core.errors import NOTHING_WRITTEN, SealError
from tasks.job.settings import Settings
from tasks.job.signers import log_signer_of
from tasks.sealed_log.checkpoint_files import CheckpointFiles
from tasks.sealed_log.history import EMPTY, require_history
from tasks.sealed_log.sealed_part import AUDIT, refuse_other_tiles
from tasks.stores.protocols.sealed_log import SealedLog, Tile

_TILES_KEPT = 64


class ProvenDigests:
    """Payload digests by attestation id. Memory: the head of every tile, and a few tiles.

    Raises SealError if the log in the database is not the one that was sealed: see `require_history`.
    """

    def __init__(self, session: SealedLog, settings: Settings) -> None:
        files, signer = CheckpointFiles(settings.state_dir, settings.sealing.origin), log_signer_of(settings)
        require_history(session, signer, files, settings.sealing.origin)
        with session.snapshot():
            self._heads = session.layout()
            last = session.last_checkpoint() or EMPTY
        refuse_other_tiles(self._heads, last)
        self._session = session
        self._first_ids = [head.first_id for head in self._heads]
        self._tile = lru_cache(maxsize=_TILES_KEPT)(self._read_proven)

    def digest(self, attestation_id: int) -> bytes | None:
        """The digest that was sealed for this log row, 32 zero bytes if none was known; None if it is not sealed.

        Raises SealError if the row, or one beside it, is not what was sealed.
        """
        if not self._heads or attestation_id > self._heads[-1].last_id:
            return None
        at = max(bisect_right(self._first_ids, attestation_id) - 1, 0)
        tile = self._tile(at)
        place = bisect_left(tile.attestation_ids, attestation_id) if tile else 0
        if tile is None or tile.attestation_ids[place : place + 1] != (attestation_id,):
            raise SealError(
                f"it, or a row beside it, is not what was sealed as leaf {self._heads[at].first_leaf} and those behind",
                where=f"log row {attestation_id}",
                hint=AUDIT,
                written=NOTHING_WRITTEN,
            )
        return tile.digest(tile.first_leaf + place)

    def _read_proven(self, at: int) -> Tile | None:
        """A tile whose leaves, in the order of their ids, lead to its roots; else None."""
        tile = self._session.read_tile(self._heads[at])
        rows = self._session.read_rows(tile.attestation_ids[0], tile.attestation_ids[-1])
        if tuple(row[0] for row in rows) != tile.attestation_ids:
            return None
        roots = subtree_roots(tile.first_leaf, leaf_hashes(rows, tile.digests))
        return tile if roots == self._heads[at].roots else None
