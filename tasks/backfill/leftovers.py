"""What is still residual when a run ends, fact by fact: what it rejected, what came since, what it left undone.

A difference of counts would not do: a rejected fact that is deleted and another that is added cancel out.

1. Ask for the facts that the run rejected and that are residual now. If that is all, nothing else is read.
2. Read the residual facts behind the last chunk: on most stores new facts get higher keys. Where that does not explain
   all, read every residual fact, once. With a row budget, read those of the chunks alone.
3. Hold each chunk that has some against a fresh count of its range, and what lies outside all chunks against that of
   the plan: so many may have come since as there are more facts now.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from tasks.backfill.plan_backfill import count_outside
from tasks.core.errors import StateError
from tasks.core.fact_keys import Key, describe, key_order
from tasks.core.values import Fact, Record, Reject, UnreadableFact
from tasks.derivation.rules import Rules, derive
from tasks.runs.plans import Plan
from tasks.stores.protocols.counts import Counts
from tasks.stores.protocols.session import Session

OUTSIDE = 0
"""Stands for the number of a chunk where a fact lies in none."""


@dataclass(frozen=True)
class Leftovers:
    """Residual facts at the end of a run: those it `rejected`, and those `beyond`.

    `unsettled` of those beyond can be attested and did not come since the plan was made, as far as their number and
    their own time tell; `first` is the first of them.
    """

    rejected: int
    beyond: int
    unsettled: int = 0
    first: str | None = None


def leftovers(session: Session, plan: Plan, rules: Rules, *, residual: int, done: Mapping[int, Counts]) -> Leftovers:
    """What the `residual` facts of this moment are, after a live run whose chunks counted what `done` says. Reads only.

    A run without a budget promises to leave nothing; one with a budget promises that of its chunks.
    """
    rejected = session.count_rejected_residual(plan.run_id) if plan.chunks else 0
    if residual <= rejected:
        return Leftovers(residual, 0)
    seen = _Seen(session, plan, rules)
    if plan.max_rows is not None:
        seen.take(chain.from_iterable(session.residual_facts(after=c.after, through=c.through) for c in plan.chunks))
    else:
        if plan.chunks:
            seen.take(session.residual_facts(after=plan.chunks[-1].through))
        if rejected + seen.beyond != residual or seen.rejected:
            seen = _Seen(session, plan, rules)
            seen.take(session.residual_facts())
            rejected = seen.rejected + min(plan.set_aside, session.count_set_aside().total)
    unsettled = sum(_unsettled(session, plan, done, number, left) for number, left in seen.left.items())
    return Leftovers(rejected, residual - rejected, unsettled, seen.first if unsettled else None)


@dataclass
class _Left:
    """Residual facts of one chunk, or of none: `old` have no metadata, `again` have a row without a source."""

    old: int = 0
    again: int = 0


def _unsettled(session: Session, plan: Plan, done: Mapping[int, Counts], number: int, left: _Left) -> int:
    """How many of them cannot have come, or got a source, since.

    A chunk cannot have met fewer facts than were planned for it, and what it did not settle of those is still there or
    has gone: so it is not believed that as many came in their place.
    """
    if not plan.chunks:
        return left.old + left.again
    if number == OUTSIDE:
        now = count_outside(session, plan.chunks, session.count_set_aside().total if plan.set_aside else 0)
        return max(0, left.old - max(0, now - plan.unchanged_outside))
    planned, counts = plan.chunk(number), done[number]
    now = session.count_range(after=planned.after, through=planned.through)
    if planned.after is None and plan.set_aside:
        now += session.count_set_aside().total
    came = max(0, now - max(counts.eligible, planned.residual))
    missed = max(0, planned.residual - counts.inserted - counts.updated - counts.rejected)
    surely = max(0, left.old - came)
    return surely + min(left.old + left.again - surely, missed)


class _Seen:
    """Residual facts, told apart one by one, in the order of their keys or not."""

    def __init__(self, session: Session, plan: Plan, rules: Rules) -> None:
        self._session, self._plan, self._rules = session, plan, rules
        self._chunks = sorted(plan.chunks, key=lambda chunk: key_order(chunk.through))
        self._ends = [key_order(chunk.through) for chunk in self._chunks]
        self.rejected = self.beyond = 0
        self.left = dict[int, _Left]()
        self.first: str | None = None

    def take(self, facts: Iterable[tuple[Any, ...]]) -> None:
        run_id = self._plan.run_id if self._plan.chunks else None
        for values in facts:
            outcome = self._outcome(values)
            if self._session.was_rejected_by(run_id, outcome.fact_id):
                self.rejected += 1
                continue
            self.beyond += 1
            if isinstance(outcome, Record) and not self._came_since(fact := Fact._make(values), outcome):
                left = self.left.setdefault(self._chunk_of(values[0]), _Left())
                if fact.has_metadata:  # it was unchanged, and got a source since; or it was passed over
                    left.again += 1
                else:
                    left.old += 1
                self.first = self.first or outcome.fact_id

    def _chunk_of(self, key: Key) -> int:
        order = key_order(key)
        at = bisect_left(self._ends, order)
        inside = at < len(self._chunks) and key_order(self._chunks[at].after) < order
        return self._chunks[at].chunk if inside else OUTSIDE

    def _outcome(self, values: tuple[Any, ...]) -> Record | Reject:
        return values.reject if isinstance(values, UnreadableFact) else derive(Fact._make(values), self._rules)

    def _came_since(self, fact: Fact, outcome: Record) -> bool:
        """By its own time. A fact without one, or with an earlier one, may have come since as well: see `came`."""
        return fact.created_at is not None and outcome.extracted_at >= self._plan.created_at


def refuse_unsettled(left: Leftovers, plan: Plan) -> None:
    """Raise StateError if the run leaves facts that it should have settled."""
    if not left.unsettled:
        return
    one = left.unsettled == 1
    count = f"{left.unsettled} fact{'' if one else 's'}, the first {describe(left.first)}"
    reason = "the ledger calls all of its chunks done" if plan.chunks else "its plan says that nothing was residual"
    raise StateError(
        f"run {plan.run_id} is NOT COMPLETE: {count}, {'is' if one else 'are'} residual, though "
        f"{reason} and no more facts came since. Plan or ledger was altered, or facts were "
        "replaced meanwhile",
        hint="Use a new --run-id, which settles them",
        written="What this run has written is committed and stays",
    )
