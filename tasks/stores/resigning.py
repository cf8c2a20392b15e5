"""What signing placeholders needs of a database, beyond what a run needs: values and one protocol."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from tasks.engine.keys import Key
from tasks.stores.base import BatchWrite, Session

_ID_BYTES = 8
_DIGEST_BYTES = 32


class PendingRow(NamedTuple):
    """A metadata row that holds a placeholder: an AttestedRow, with when it was last updated and what its latest log
    row says of attester and time.
    """

    fact_id: Any
    source_doc: Any
    extracted_at: Any
    verified_by: Any
    confidence_lower: Any
    confidence_upper: Any
    ed25519_sig: Any
    attestation_id: Any
    signature_hex: Any
    updated_at: Any
    attester: Any
    signed_at: Any
    ever_signed: Any


@dataclass(frozen=True)
class PendingRead:
    """Pending rows of a key range in key order, as one snapshot shows them."""

    rows: Sequence[PendingRow]
    last: Key
    exhausted: bool


class SignatureWrite(NamedTuple):
    """One row to sign: what it held when it was read, what goes into it and into the log."""

    fact_id: str
    source_doc: str | None
    extracted_at: str
    verified_by: str
    confidence_lower: float | None
    confidence_upper: float | None
    ed25519_sig: bytes
    signature_hex: str
    superseded: int
    notes: str


class TileDigests(NamedTuple):
    """The two large columns of a tile: ids, None if they have no gap, and payload digests."""

    attestation_ids: bytes | None
    payload_digests: bytes


class SealedDigests:
    """The payload digests of the sealed log by attestation id. Memory: the head of every tile, and what `read` keeps.

    `heads` are (first leaf, leaves, first id, last id) of the tiles, in the order of their ids.
    """

    def __init__(self, heads: Sequence[tuple[int, int, int, int]], read: Callable[[int], TileDigests]) -> None:
        self._heads = heads
        self._first_ids = [head[2] for head in heads]
        self._read = read

    def digest(self, attestation_id: int) -> bytes | None:
        """The digest that was sealed for this log row, 32 zero bytes if none was known; None if it is not sealed."""
        at = bisect_right(self._first_ids, attestation_id) - 1
        if at < 0 or attestation_id > self._heads[at][3]:
            return None
        first_leaf, leaves, first_id, _ = self._heads[at]
        ids, digests = self._read(first_leaf)
        position = attestation_id - first_id if ids is None else _position(ids, attestation_id, leaves)
        return None if position is None else digests[_DIGEST_BYTES * position : _DIGEST_BYTES * (position + 1)]


def _position(ids: bytes, attestation_id: int, leaves: int) -> int | None:
    wanted = attestation_id.to_bytes(_ID_BYTES, "little", signed=True)
    return next((i for i in range(leaves) if ids[_ID_BYTES * i : _ID_BYTES * (i + 1)] == wanted), None)


class ResigningSession(Session, Protocol):
    """A run's session that can also sign placeholders. Its runs are kept apart from those of the backfill."""

    def pending_keys(self) -> Iterator[Key]:
        """Keys of all rows that hold exactly the placeholder, in key order, except NULL keys. Streams."""

    def count_pending(self) -> int: ...

    def read_pending(self, *, after: Key, through: Key, limit: int) -> PendingRead: ...

    def sealed_digest(self, attestation_id: int) -> bytes | None:
        """What payload digest was sealed for a log row: 32 zero bytes if none was known; None if not sealed."""

    def fact(self, fact_id: str) -> tuple[Any, ...] | None:
        """The fact of this id as it is now, in the order of derivation.Fact, or None."""

    def write_signatures(self, batch: BatchWrite, signatures: Sequence[SignatureWrite]) -> bool:
        """Commit one batch durably, all of it or nothing: signatures, log rows, refusals, ledger.

        False, with nothing written, if a row, its log or the ledger moved on since the batch was read.
        """
