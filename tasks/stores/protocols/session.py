"""A connection of a run: all that a run needs of a store, from the small protocols beside it."""

from __future__ import annotations

from typing import Protocol

from tasks.stores.protocols.batches import BatchWrites
from tasks.stores.protocols.facts import FactBatches, FactCounts, FactWalk, Snapshots
from tasks.stores.protocols.health import StoreHealth
from tasks.stores.protocols.ledger import ChunkLedger, RunLedger
from tasks.stores.protocols.rejects import Rejects
from tasks.stores.protocols.schema import GatedSchema


class Session(
    GatedSchema, Snapshots, FactWalk, FactCounts, FactBatches, BatchWrites, RunLedger, ChunkLedger, Rejects,
    StoreHealth, Protocol,
):  # fmt: skip
    """One verified connection to one store.

    It is opened in a `run()`, closed in the same block, and never crosses a fork. Every method may raise DatabaseError,
    LockedError or SchemaChangedError.
    """
