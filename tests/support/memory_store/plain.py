"""Facts that a store may judge without handing them out: counted for a dry run, staged for a run without a key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from support.memory_store.facts import MemoryFacts

from tasks.attestation.signature_column import PLACEHOLDER
from tasks.core.fact_keys import Key
from tasks.core.values import Fact, Record
from tasks.derivation.batch import Derivation, derive_batch
from tasks.derivation.rules import Rules, derive, number_of
from tasks.stores.protocols.batches import BatchWrite
from tasks.stores.protocols.counts import NONE_PLAIN, PlainCounts
from tasks.stores.protocols.facts import BatchRead


class MemoryPlainFacts(MemoryFacts):
    """See the protocols for what each method promises."""

    _staged = Derivation()

    def tally_batch(self, *, after: Key, through: Key, limit: int, with_set_aside: bool) -> BatchRead:
        return self._without_plain(after, through, limit, with_set_aside, self._rules)[0]

    def stage_batch(self, *, after: Key, through: Key, limit: int, with_set_aside: bool, rules: Rules) -> BatchRead:
        batch, self._staged = self._without_plain(after, through, limit, with_set_aside, rules)
        return batch

    def _with_staged(self, batch: BatchWrite) -> BatchWrite:
        """The batch with what was staged among its rows, if it counts that."""
        if batch.plain == NONE_PLAIN:
            return batch
        inserts, updates = (
            [(record, PLACEHOLDER, None) for record in records]
            for records in (self._staged.inserts, self._staged.updates)
        )
        return replace(batch, inserts=[*batch.inserts, *inserts], updates=[*batch.updates, *updates])

    def _without_plain(
        self, after: Key, through: Key, limit: int, with_set_aside: bool, rules: Rules
    ) -> tuple[BatchRead, Derivation]:
        """A batch whose plain facts are counted, and what is to be attested of those."""
        batch = self.read_batch(after=after, through=through, limit=limit, with_set_aside=with_set_aside)
        plain = [fact for fact in batch.facts if _is_plain(fact, rules)]
        derived = derive_batch(plain, rules)
        counts = PlainCounts(len(derived.inserts), len(derived.updates), derived.created_at_missing)
        odd = [fact for fact in batch.facts if fact not in plain]
        return replace(batch, facts=odd, plain=counts), derived


def _is_plain(values: tuple[Any, ...], rules: Rules) -> bool:
    """Whether a fact that the log does not know would be attested, and there is nothing to tell of it."""
    fact = Fact._make(values)
    has_odd_confidence = fact.confidence is not None and number_of(fact.confidence) is None
    return fact.has_metadata in (0, 1) and not has_odd_confidence and isinstance(derive(fact, rules), Record)
