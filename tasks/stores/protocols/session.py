"""A connection of a run: all that a run needs of a store, from the small protocols beside it."""

from __future__ import annotations

from typing import Protocol

from tasks.stores.protocols.batches import BatchWrites
from tasks.stores.protocols.facts import Facts
from tasks.stores.protocols.health import StoreHealth
from tasks.stores.protocols.ledger import Ledger
from tasks.stores.protocols.schema import GatedSchema


class Session(GatedSchema, Facts, BatchWrites, Ledger, StoreHealth, Protocol):
    """One verified connection to one store.

    It is opened in a `run()`, closed in the same block, and never crosses a fork. Every method may raise DatabaseError,
    LockedError or SchemaChangedError.
    """
