"""What verification and explanation need of a database, whatever kind it is: values and one protocol.

A reader is one verified connection that cannot write. It is opened and closed in one block and never crosses a fork.
Every method may raise DatabaseError or LockedError.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from tasks.core.fact_keys import Key


@dataclass(frozen=True)
class RowsRead:
    """Metadata rows of a key range, as one snapshot shows them: tuples in the order of row_states.MetadataRow."""

    rows: Sequence[tuple[Any, ...]]
    last: Key
    exhausted: bool


class Attestation(NamedTuple):
    """One row of the log, as an explanation tells of it. Text that is not UTF-8 comes as NotUtf8; absent columns are
    None.
    """

    attestation_id: Any
    signed_at: Any
    attester: Any
    signature_hex: Any
    notes: Any


class Provenance(NamedTuple):
    """What the database says of one fact. Text that is not UTF-8 comes as NotUtf8."""

    fact_id: str
    source_doc: Any
    extracted_at: Any
    verified_by: Any
    confidence_lower: Any
    confidence_upper: Any
    ed25519_sig: Any
    attestation_count: int
    latest_signed_at: Any


class AttestationReader(Protocol):
    """One verified connection that reads the metadata and its log."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def binding_digest(self) -> str:
        """SHA-256 over which tables and columns are read."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Everything read inside the block is the same moment's."""

    def count_rows(self) -> int: ...

    def count_null_keys(self) -> int:
        """The rows without a fact id, counted in `count_rows` too."""

    def key_after(self, after: Key, *, rows: int) -> Key:
        """The key of the row that is `rows` rows after `after` in key order; None if there are not as many."""

    def last_key(self) -> Key: ...

    def read_rows(self, *, after: Key, through: Key, limit: int) -> RowsRead:
        """At most `limit` rows of `(after, through]`, in key order. Rows without a key are not among them.

        `last` is `through` where the range is exhausted, else the key of the last row.
        """

    def read_row(self, fact_id: str) -> tuple[Any, ...] | None:
        """The row of one fact, as `read_rows` gives it."""

    def logged_before(self, fact_id: str, signature_hex: str) -> int | None:
        """The id of some log row that holds this signature for this fact; None if there is none."""

    def first_id_of_leaf(self, leaf: int) -> int | None:
        """The least attestation id whose leaf is this one or a later one; None if there is none yet.

        Leaves that are not sealed yet are counted as the sealer would count them now. Raises SealError if the tiles do
        not make one log: then no leaf is known.
        """

    def chain(self, fact_id: str) -> list[Attestation]:
        """All log rows of one fact, the oldest first."""

    def provenance(self, fact_ids: Sequence[str]) -> dict[str, Provenance]:
        """What is known of these facts, in one query; facts that are not known are left out."""
