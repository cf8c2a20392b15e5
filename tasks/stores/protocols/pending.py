"""What signing pending rows needs of a database, beyond what a run needs: values and one protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from tasks.core.fact_keys import Key
from tasks.stores.protocols.batches import LedgerStep
from tasks.stores.protocols.session import Session


class PendingRow(NamedTuple):
    """A metadata row that holds a placeholder, or what a revoked key signed.

    A MetadataRow, with when it was last updated and what its latest log row says of attester and time.
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
    replaced: bytes
    ed25519_sig: bytes
    signature_hex: str
    superseded: int
    notes: str


class PendingSession(Session, Protocol):
    """A run's session that can also sign what is pending: placeholders, and rows that carry the id of a revoked key.

    Its runs are kept apart from those of the backfill.
    """

    def pending_keys(self) -> Iterator[Key]:
        """Keys of all rows that are pending, in key order, except NULL keys. Streams."""

    def count_pending(self) -> int: ...

    def read_pending(self, *, after: Key, through: Key, limit: int) -> PendingRead: ...

    def fact(self, fact_id: str) -> tuple[Any, ...] | None:
        """The fact of this id as it is now, in the order of derivation.Fact, or None.

        Raises RowRefusedError if the database cannot compute it.
        """

    def write_signatures(self, step: LedgerStep, signatures: Sequence[SignatureWrite]) -> bool:
        """Commit one batch durably, all of it or nothing: signatures, log rows, refusals, ledger.

        The ids of its log rows ascend, and no other row of the log lies between the first and the last.

        False, with nothing written, if a row, its log or the ledger moved on since the batch was read. Raises
        RowRefusedError, with nothing written, if the database does not take a row.
        """
