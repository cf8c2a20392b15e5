"""Facts that are attested, and no longer what was attested: another source, or another time.

Somebody edited the fact, or its id was used again for another fact (an INTEGER PRIMARY KEY without AUTOINCREMENT gives
the id of the last row to the next one, once that row is deleted). What was attested was true when it was attested.
But whoever asks for the provenance of the fact gets that of another. A run leaves them as they are and counts them, or,
with `derivation.on_change: reattest`, updates them where their row still is what the log says (see evidence.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, Final

from tasks.derivation.rules import Fact, Record, Reject, Rules, Value, derive
from tasks.stores.protocols.session import Session

LISTED: Final = 20
_SHOWN = 200


@dataclass(frozen=True)
class StaleFact:
    """One such fact: the first column that moved, what was attested and what the fact says now."""

    fact_id: str
    column: str
    attested: str
    now: str


@dataclass(frozen=True)
class Stale:
    """How many there are, and some of them."""

    count: int
    sample: tuple[StaleFact, ...]

    def as_json(self) -> dict[str, Any]:
        return {"count": self.count, "sample": [asdict(fact) for fact in self.sample]}


def count_stale(session: Session, rules: Rules) -> Stale:
    """Count them all, as one snapshot shows them. Reads only; memory is bounded."""
    found = stale_facts(session, rules)
    sample = tuple(islice(found, LISTED))
    return Stale(len(sample) + sum(1 for _ in found), sample)


def stale_facts(session: Session, rules: Rules) -> Iterator[StaleFact]:
    """All of them, in no certain order. Streams. Facts without the source that they could have are not among them:
    a run settles those."""
    for *values, source_doc, extracted_at in session.stale_candidates():
        stale = compare(Fact._make((*values, 1)), source_doc, extracted_at, rules)
        if stale is not None:
            yield stale


def compare(fact: Fact, source_doc: Value, extracted_at: Value, rules: Rules) -> StaleFact | None:
    """How an attested fact differs from what its metadata row says; None if it does not.

    A fact without a time cannot say that its time moved.
    """
    now: Record | Reject = derive(fact, replace(rules, default_extracted_at=str(extracted_at)))
    fact_id = str(fact.key)
    if isinstance(now, Reject):
        return StaleFact(fact_id, "fact", f"source_doc {_seen(source_doc)}", f"{now.reason}: {now.detail}")
    for column, was, seen in (
        ("source_doc", source_doc, now.source_doc),
        ("extracted_at", extracted_at, now.extracted_at),
    ):
        if was != seen:
            return StaleFact(fact_id, column, _seen(was), _seen(seen))
    return None


def _seen(value: Value) -> str:
    return repr(value[:_SHOWN]) if isinstance(value, (str, bytes)) else repr(value)
