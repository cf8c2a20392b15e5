"""What a report counts afresh, by another look at every fact."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tasks.backfill.leftovers import Leftovers, leftovers, refuse_unsettled
from tasks.core.errors import RowRefusedError
from tasks.job.settings import Settings
from tasks.rows.stale import Stale, count_stale
from tasks.runs.plans import Plan
from tasks.stores.open import open_store
from tasks.stores.protocols.counts import Counts
from tasks.stores.protocols.session import Session

logger = logging.getLogger("luigi-interface")


@dataclass(frozen=True)
class FreshCounts:
    """How many facts are residual, what those are after a live run, which sources most have, and which are stale."""

    remaining: int
    left: Leftovers | None
    top_sources: list[tuple[str, int]]
    stale: Stale | None


def count_afresh(
    session: Session, settings: Settings, plan: Plan, *, inserts_all: bool, done: Mapping[int, Counts] | None
) -> FreshCounts:
    """All of them. Reads only. `done` is what the chunks of a live run have counted, None of a rehearsal.

    The stale facts are looked for beside the rest, in a thread and a session of their own, for each is a walk over the
    whole store. A run over the whole store that `inserts_all` need not look: nothing was attested before it, and what
    is edited since is counted by the next run. Raises StateError if a live run left more than it should have.
    """
    looks = not inserts_all or plan.max_rows is not None
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="stale") as beside:
        stale = beside.submit(_stale, settings, looks=looks)
        with session.counting_snapshot():
            remaining, top_sources = session.closing_counts()
            left = None if done is None else find_leftovers(session, settings, plan, done, residual=remaining)
        return FreshCounts(remaining, left, top_sources, stale.result())


def find_leftovers(
    session: Session, settings: Settings, plan: Plan, done: Mapping[int, Counts], *, residual: int
) -> Leftovers:
    """What a live run left. Raises StateError if it is more than it should have."""
    rules = settings.derivation.rules(plan.created_at)
    left = leftovers(session, plan, rules, residual=residual, done=done)
    refuse_unsettled(left, plan)
    return left


def _stale(settings: Settings, *, looks: bool) -> Stale | None:
    """None where the job file does not want them counted, or where one of the facts cannot be read to compare it."""
    if not settings.reporting.count_stale:
        return None
    if not looks:
        return Stale(0, ())
    try:
        with open_store(settings).session(write=False) as session:
            return count_stale(session, settings.derivation.rules(""))
    except RowRefusedError as error:
        logger.warning("stale facts were not counted, because a fact cannot be read: %s", error.words)
        return None
