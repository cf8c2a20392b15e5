"""Facts that are attested, and no longer what was attested: another source, or another time.

Somebody edited the fact, or its id was used again for another fact (there are keys of which the last one goes to the
next row, once its own is deleted). What was attested was true when it was attested. But whoever asks for the provenance
of the fact gets that of another. A run leaves them as they are and counts them, or,
with `derivation.on_change: reattest`, updates them where their row still is what the log says (see evidence.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final

from tasks.core.values import Fact
from tasks.derivation.rules import Rules
from tasks.derivation.stale import StaleFact, compare
from tasks.stores.protocols.health import StoreHealth

LISTED: Final = 20


@dataclass(frozen=True)
class Stale:
    """How many there are, and some of them."""

    count: int
    sample: tuple[StaleFact, ...]

    def as_json(self) -> dict[str, Any]:
        return {"count": self.count, "sample": [asdict(fact) for fact in self.sample]}


def count_stale(session: StoreHealth, rules: Rules) -> Stale:
    """Count them all, as one snapshot shows them. Reads only; memory is bounded."""
    found = stale_facts(session, rules)
    sample = tuple(islice(found, LISTED))
    return Stale(len(sample) + sum(1 for _ in found), sample)


def stale_facts(session: StoreHealth, rules: Rules) -> Iterator[StaleFact]:
    """All of them, in no certain order. Streams. Facts without the source that they could have are not among them:
    a run settles those."""
    for *values, source_doc, extracted_at in session.stale_candidates():
        stale = compare(Fact._make((*values, 1)), source_doc, extracted_at, rules)
        if stale is not None:
            yield stale
