"""Facts as a run sees them: which are residual, in what order, and what the log says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from support.memory_store.connection import Connection
from support.memory_store.rows import attested_row
from support.memory_store.state import MetadataRow, StoredFact

from tasks.core.errors import DatabaseError
from tasks.core.fact_keys import Key, describe, is_before, key_order
from tasks.core.values import ATTESTED, FOLLOWS, READS_LIKE_ANOTHER, Fact, Record, Reject, TooLong, Value
from tasks.derivation.rules import Rules, stays_unchanged
from tasks.derivation.stale import compare
from tasks.derivation.times import kind_of
from tasks.stores.protocols.counts import SetAside
from tasks.stores.protocols.facts import BatchRead


class MemoryFacts(Connection):
    """See the protocols for what each method promises."""

    # -- one fact ------------------------------------------------------------------------------------

    @property
    def _rules(self) -> Rules:
        return self._settings.derivation.rules("")

    def _fact(self, stored: StoredFact) -> Fact:
        """What is read of a fact, and how it stands with metadata and log."""
        of_source = None if stored.source_id is None else self._state.sources.get(stored.source_id)
        sources = [bounded(url, self._rules.longest_source) for url in (stored.own_url, of_source)]
        others = [bounded(value, self._rules.longest_value) for value in (stored.created_at, stored.confidence)]
        has_metadata, is_logged = self._metadata_of(stored.key) is not None, self._is_logged(stored.key)
        standing = has_metadata + ATTESTED * is_logged + READS_LIKE_ANOTHER * self._reads_like_another(stored.key)
        if self._settings.derivation.on_change == "reattest":
            standing += FOLLOWS * (has_metadata and is_logged)
        return Fact(stored.key, sources[0], sources[1], others[0], others[1], standing)

    def _metadata_of(self, key: Value) -> MetadataRow | None:
        return self._state.metadata.get(str(key)) if isinstance(key, (int, str)) else None

    def _is_logged(self, key: Value) -> bool:
        return isinstance(key, (int, str)) and bool(self._state.logged(str(key)))

    def _reads_like_another(self, key: Value) -> bool:
        others = (fact.key for fact in self._state.facts)
        return isinstance(key, str) and any(isinstance(other, int) and str(other) == key for other in others)

    def _is_set_aside(self, key: Value) -> bool:
        return key is None or isinstance(bounded(key, self._rules.longest_value), TooLong)

    def _is_residual(self, fact: Fact) -> bool:
        """Whether it would be inserted, updated or rejected."""
        row = self._metadata_of(fact.key)
        if row is None or fact.has_metadata & READS_LIKE_ANOTHER:
            return True
        if fact.has_metadata & FOLLOWS and compare(fact, row.source_doc, row.extracted_at, self._rules):
            return True
        return row.source_doc is None and not stays_unchanged(fact._replace(has_metadata=1))

    # -- ranges of facts -----------------------------------------------------------------------------

    def _keyed(self) -> list[StoredFact]:
        """All facts but those set aside, in key order."""
        found = [fact for fact in self._state.facts if not self._is_set_aside(fact.key)]
        return sorted(found, key=lambda fact: key_order(fact.key))

    def _between(self, after: Key, through: Key) -> Iterator[StoredFact]:
        """Those of `(after, through]`; None is no bound."""
        for fact in self._keyed():
            if (after is None or is_before(after, fact.key)) and not (
                through is not None and is_before(through, fact.key)
            ):
                yield fact

    def residual_facts(self, *, after: Key = None, through: Key = None) -> Iterator[tuple[Any, ...]]:
        return filter(self._is_residual, map(self._fact, self._between(after, through)))

    def residual_key(self, *, after: Key, skip: int) -> Key:
        return self._skipped((key for key, *_ in self.residual_facts(after=after)), after, skip)

    def fact_key(self, *, after: Key, skip: int) -> Key:
        return self._skipped((fact.key for fact in self._between(after, None)), after, skip)

    def _skipped(self, keys: Iterator[Key], after: Key, skip: int) -> Key:
        for key in islice(keys, skip, None):
            return key
        raise DatabaseError(f"store {self._database.name}: fewer facts lie beyond {describe(after)} than were counted.")

    def key_before(self, key: Key) -> Key:
        return max((fact.key for fact in self._keyed() if is_before(fact.key, key)), key=key_order, default=None)

    def read_batch(self, *, after: Key, through: Key, limit: int, with_set_aside: bool) -> BatchRead:
        with self.snapshot():
            found = [] if through is None else [*islice(self.residual_facts(after=after, through=through), limit)]
            exhausted = len(found) < limit
            last = through if exhausted else found[-1][0]
            eligible = self._count(after, last)
            set_aside = self.count_set_aside() if with_set_aside and after is None else SetAside()
        return BatchRead(found, last, eligible, exhausted, set_aside)

    # -- counts --------------------------------------------------------------------------------------

    def _count(self, after: Key, through: Key) -> int:
        return 0 if through is None else len([*self._between(after, through)])

    def count_facts(self) -> int:
        return len(self._state.facts)

    def count_range(self, *, after: Key, through: Key) -> int:
        return self._count(after, through)

    def count_through(self, key: Key) -> int:
        return self._count(None, key)

    def count_beyond(self, key: Key) -> int:
        return len([*self._between(key, None)])

    def count_set_aside(self) -> SetAside:
        aside = [fact.key for fact in self._state.facts if self._is_set_aside(fact.key)]
        return SetAside(null_keys=aside.count(None), long_keys=len(aside) - aside.count(None))

    def count_residual(self) -> int:
        with self.snapshot():
            return self.count_set_aside().total + sum(1 for _ in self.residual_facts())

    def closing_counts(self) -> tuple[int, list[tuple[str, int]]]:
        with self.snapshot():
            sources = Counter(
                str(row.source_doc) for row in self._state.metadata.values() if row.source_doc is not None
            )
            most = sorted(sources.items(), key=lambda one: (-one[1], one[0].encode()))
            return self.count_residual(), most[:10]

    def refuse_damaged_indexes(self) -> None:
        """There are none."""

    # -- what facts look like ------------------------------------------------------------------------

    def own_warnings(self) -> list[str]:
        return []

    def any_source(self) -> bool:
        return any(not stays_unchanged(self._fact(fact)._replace(has_metadata=1)) for fact in self._state.facts)

    def created_at_sample(self) -> list[Value]:
        return [self._fact(fact).created_at for fact in reversed(self._keyed()[-200:])]

    def oldest_waiting(self) -> str | int | float | None:
        asked = self._settings.derivation.created_at_as
        times = [created_at for _, _, _, created_at, *_ in self.residual_facts() if kind_of(created_at) == asked]
        return min(times, default=None, key=key_order)

    def stale_candidates(self) -> Iterator[tuple[Any, ...]]:
        for fact in map(self._fact, self._keyed()):
            row = self._metadata_of(fact.key)
            if row is not None and fact.has_metadata & ATTESTED and not self._is_residual(fact):
                yield (*fact[:5], row.source_doc, row.extracted_at)

    # -- what is attested of one ---------------------------------------------------------------------

    def old_metadata(self, fact_id: str) -> Record | None:
        row = self._state.metadata.get(fact_id)
        return Record(*row[:3], *row[4:6]) if row else None

    def latest_attestation(self, fact_id: str) -> int | None:
        return max((entry.attestation_id for entry in self._state.logged(fact_id)), default=None)

    def attested_metadata(self, fact_id: str) -> tuple[Any, ...] | None:
        return attested_row(self._state, fact_id)

    @property
    def own_rules(self) -> tuple[str, ...]:
        return ()

    def foresee_refusals(self, records: Sequence[Record], *, signed: bool) -> list[Reject]:
        return []


def bounded(value: Value, longest: int) -> Value:
    """Text and BLOBs that have more bytes than they may are not handed out."""
    if isinstance(value, (str, bytes)):
        length = len(value.encode()) if isinstance(value, str) else len(value)
        return TooLong(length) if length > longest else value
    return value
