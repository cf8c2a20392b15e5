"""What is still residual when a run ends, fact by fact: what it rejected, what came since, what it left undone.

A difference of counts would not do: a rejected fact that is deleted and another that is added cancel out.

1. Ask for the facts that the run rejected and that are residual now. If that is all, nothing else is read.
2. Read the residual facts behind the last chunk: on most stores new facts get higher keys.
3. Where that does not explain all, read every residual fact, once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tasks.core.errors import StateError
from tasks.core.fact_keys import describe
from tasks.core.values import Fact, Record, Reject, UnreadableFact
from tasks.derivation.rules import Rules, derive
from tasks.runs.plans import Plan
from tasks.stores.protocols.session import Session


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


def leftovers(session: Session, plan: Plan, rules: Rules, *, residual: int, eligible: int, settled: int) -> Leftovers:
    """What the `residual` facts of this moment are, after a live run that settled so many of `eligible` facts. Reads
    only.

    Only a run without a budget, or without anything to do, promises to leave nothing; of others nothing is unsettled.
    """
    rejected = session.count_rejected_residual(plan.run_id) if plan.chunks else 0
    if residual <= rejected or (plan.chunks and plan.max_rows is not None):
        return Leftovers(min(rejected, residual), max(0, residual - rejected))
    seen = _Seen(session, plan, rules)
    if plan.chunks:
        seen.take(session.residual_facts(after=plan.chunks[-1].through))
    if rejected + seen.beyond != residual or seen.rejected:
        seen = _Seen(session, plan, rules)
        seen.take(session.residual_facts())
        rejected = seen.rejected
    came = max(0, session.count_facts() - eligible) if plan.chunks else 0
    missed = max(0, plan.residual - settled) if plan.chunks else seen.again
    unsettled = max(0, seen.old - came) + min(seen.again, missed)
    return Leftovers(rejected, residual - rejected, unsettled, seen.first if unsettled else None)


class _Seen:
    """Residual facts, told apart one by one."""

    def __init__(self, session: Session, plan: Plan, rules: Rules) -> None:
        self._session, self._plan, self._rules = session, plan, rules
        self.rejected = self.beyond = self.old = self.again = 0
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
                if fact.has_metadata:  # it was unchanged, and got a source since; or it was passed over
                    self.again += 1
                else:
                    self.old += 1
                self.first = self.first or outcome.fact_id

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
