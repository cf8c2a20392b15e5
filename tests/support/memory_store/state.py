"""What a store in memory holds, and how it changes: every commit puts one whole state in the place of another.

So a reader that keeps the state that it began with has a snapshot, and a write that fails half way changed nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from tasks.core.errors import LockedError
from tasks.core.values import Reject
from tasks.stores.protocols.ledger import LedgerBatch, LedgerRow, RunKind, RunRow
from tasks.stores.protocols.sealed_log import NewCheckpoint, Tile


class StoredFact(NamedTuple):
    """A fact as an application would store it: any values at all."""

    key: Any
    own_url: Any = None
    source_id: Any = None
    created_at: Any = None
    confidence: Any = None


class MetadataRow(NamedTuple):
    """What is attested of a fact. The first seven are those of a MetadataRow."""

    fact_id: str
    source_doc: Any
    extracted_at: Any
    verified_by: Any
    confidence_lower: Any
    confidence_upper: Any
    ed25519_sig: Any
    updated_at: Any


class LogEntry(NamedTuple):
    """A row of the attestation log."""

    attestation_id: int
    fact_id: str
    attester: Any
    signed_at: Any
    signature_hex: Any
    notes: Any


class Run(NamedTuple):
    """A run in the ledger. `remaining` is None until it is finished."""

    kind: RunKind
    row: RunRow
    stop_reason: str | None = None
    remaining: int | None = None


class Rejected(NamedTuple):
    """A fact that a run rejected. Of one that is set aside the reject's fact id is no id, but says what it is."""

    run_id: str
    chunk: int
    reject: Reject
    is_set_aside: bool


@dataclass
class State:
    """Everything that is stored. The containers may be changed by a writer that has copied them, what they hold never.

    The log is in the order of its ids, rejects and runs in the order in which they came, tiles in that of their leaves.
    """

    facts: list[StoredFact] = field(default_factory=list)
    sources: dict[Any, Any] = field(default_factory=dict)
    metadata: dict[str, MetadataRow] = field(default_factory=dict)
    log: dict[int, LogEntry] = field(default_factory=dict)
    last_id: int = 0
    id_step: int = 1
    runs: dict[str, Run] = field(default_factory=dict)
    chunks: dict[tuple[str, int], LedgerRow] = field(default_factory=dict)
    failures: dict[tuple[str, int], str] = field(default_factory=dict)
    batches: list[tuple[str, LedgerBatch]] = field(default_factory=list)
    rejects: list[Rejected] = field(default_factory=list)
    tiles: dict[int, Tile] = field(default_factory=dict)
    checkpoints: list[NewCheckpoint] = field(default_factory=list)

    def copied(self) -> State:
        return State(**{column.name: copy(getattr(self, column.name)) for column in fields(self)})

    def logged(self, fact_id: object) -> list[LogEntry]:
        """The rows of the log about one fact, the oldest first."""
        return [entry for entry in self.log.values() if entry.fact_id == fact_id]

    def append_log(self, fact_id: str, attester: str, signed_at: str, signature_hex: str, notes: str | None) -> int:
        """Returns the id of the row: greater than any that was given before."""
        self.last_id += self.id_step
        self.log[self.last_id] = LogEntry(self.last_id, fact_id, attester, signed_at, signature_hex, notes)
        return self.last_id


class Database:
    """The state that is committed, and the lock of its one writer."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = State()
        self._writing = threading.Lock()

    @contextmanager
    def transaction(self, *, patience: float) -> Iterator[State]:
        """A state to change: it is committed when the block ends, and forgotten if it raises.

        Raises LockedError if another writer holds the lock for `patience` seconds.
        """
        if not self._writing.acquire(timeout=patience):
            raise LockedError(f"store {self.name}: locked by another writer for {patience:g} s. Nothing was written.")
        try:
            state = self.state.copied()
            yield state
            self.state = state
        finally:
            self._writing.release()
