"""Which keys a run with a row budget takes: those whose turn it is, without those that would only be rejected again.

Their turn begins behind the key at which the last run with a budget ended, as the ledger has it, and goes round: every
key is reached, whatever arrives meanwhile. A plan that goes round has chunks in two stretches.

A fact that would be rejected again, for the reason of an earlier run, is not counted against a budget, so that such
facts cannot use it up every day; once it is mended it counts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from tasks.backfill.evidence import Witness
from tasks.core.fact_keys import Key
from tasks.core.values import ATTESTED, REFUSED_BY_DATABASE, Fact, Record, Reject, UnreadableFact
from tasks.derivation.rules import Rules, derive
from tasks.runs.cuts import MAX_CHUNKS, Cuts
from tasks.runs.plans import PlannedChunk, StopReason
from tasks.stores.protocols.batches import Superseded
from tasks.stores.protocols.session import Session

Keys = Callable[[Key, Key], Iterator[Key]]
"""The keys of `(after, through]` that count against a budget, in order. None: from the first, to the last."""


def take_turns(
    session: Session, keys: Keys, chunk_rows: int, max_rows: int
) -> tuple[tuple[PlannedChunk, ...], StopReason]:
    """As many keys as the budget allows.

    1. Begin behind the key at which the last run with a budget ended.
    2. Take keys up to the last one.
    3. Go round: take keys from the first one up to where this began.
    """
    end = session.last_budgeted_key()
    stretches: list[tuple[Key, Key]] = [(None, None)] if end is None else [(end, None), (None, end)]
    chunks, left = list[PlannedChunk](), min(max_rows, sys.maxsize)
    for after, through in stretches:
        found = keys(after, through)
        cuts = Cuts(chunk_rows, most=MAX_CHUNKS // len(stretches))
        first_key = cuts.take_streamed(islice(found, left))
        left -= cuts.count
        if cuts.count:
            chunks += cuts.chunks(session.key_before(first_key), number=len(chunks) + 1)
        if not left and next(found, None) is not None:
            return tuple(chunks), "row_budget"
    return tuple(chunks), "complete"


def _outcome(session: Session, fact: tuple[Any, ...], rules: Rules, witness: Witness) -> Record | Reject | Superseded:
    """What would become of a residual fact; the database's own rules are asked where they refused it before."""
    if isinstance(fact, UnreadableFact):
        return fact.reject
    outcome = derive(Fact._make(fact), rules)
    if isinstance(outcome, Reject):
        return outcome
    if session.own_rules and session.was_rejected(outcome.fact_id, REFUSED_BY_DATABASE):
        refused = session.foresee_refusals([outcome], signed=False)
        if refused:
            return refused[0]
    return witness.hear(outcome.fact_id) if fact[-1] & ATTESTED else outcome


def countable_keys(session: Session, rules: Rules, witness: Witness, after: Key, through: Key) -> Iterator[Key]:
    """Residual keys in key order, without those that would be rejected just as they were before."""
    for fact in session.residual_facts(after=after, through=through):
        outcome = _outcome(session, fact, rules, witness)
        if not (isinstance(outcome, Reject) and session.was_rejected(outcome.fact_id, outcome.reason)):
            yield fact[0]
