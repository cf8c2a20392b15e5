"""Whether an attested fact is no longer what was attested of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tasks.core.values import Fact, Record, Reject, Value
from tasks.derivation.rules import Rules, derive

_SHOWN = 200


@dataclass(frozen=True)
class StaleFact:
    """One such fact: the first column that moved, what was attested and what the fact says now."""

    fact_id: str
    column: str
    attested: str
    now: str


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
