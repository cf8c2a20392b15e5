"""The plan of a backfill: residual keys to chunks.

As one snapshot:

1. Count the residual facts.
2. Walk over them in key order and cut after every `chunk_rows` of them.
3. Count the unchanged facts that lie outside all chunks.

Bounds come from the data alone, so sparse, huge, negative or text keys still give even chunks.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from tasks.backfill.budget import countable_keys, take_turns
from tasks.backfill.evidence import Witness
from tasks.contract.mends import refuse_without_notes
from tasks.core.errors import NOTHING_WRITTEN, ParameterError, RowRefusedError
from tasks.core.fact_keys import Key
from tasks.job.paths import RunPaths
from tasks.job.settings import Settings
from tasks.job.signers import signer_of
from tasks.runs.cuts import Cuts, Walk
from tasks.runs.frozen_plans import (
    freeze,
    plan_of_ledger,
    refuse_foreign_plan,
    refuse_other_budget,
    refuse_other_reattestation,
)
from tasks.runs.plans import Plan, PlannedChunk, StopReason, with_seconds
from tasks.stores.open import open_store
from tasks.stores.protocols.facts import Facts
from tasks.stores.protocols.session import Session

logger = logging.getLogger("luigi-interface")


def make_plan(
    session: Session,
    settings: Settings,
    *,
    run_id: str,
    max_rows: int | None,
    created_at: str,
    because: str | None = None,
) -> Plan:
    """Plan a run over everything residual, or over `max_rows` residual facts whose turn it is (see budget.py).

    Facts whose key is NULL or too long to be read are left to runs without a budget. Raises ParameterError for a budget
    below 1. Reads only.
    """
    if max_rows is not None and max_rows < 1:
        raise ParameterError("expected 1 or more", where=f"--max-rows {max_rows}", written=NOTHING_WRITTEN)
    started = time.monotonic()
    with session.counting_snapshot():
        session.refuse_damaged_indexes()
        if max_rows is None:
            scope = _everything(session, settings)
        else:
            scope = _what_has_its_turn(session, settings, max_rows=max_rows, created_at=created_at, because=because)
    plan = Plan(
        run_id=run_id,
        created_at=created_at,
        database=settings.place.absolute,
        settings_digest=settings.digest,
        schema_fingerprint=session.fingerprint,
        binding_digest=session.binding.digest,
        max_rows=max_rows,
        stop_reason=scope.stop_reason,
        unchanged_outside=scope.unchanged_outside,
        set_aside=scope.set_aside,
        chunks=scope.chunks,
        reattest=because or "",
    )
    return with_seconds(plan, time.monotonic() - started)


@dataclass(frozen=True)
class _Scope:
    """What a plan covers: its chunks, and the facts that it counts besides."""

    chunks: tuple[PlannedChunk, ...]
    stop_reason: StopReason = "complete"
    unchanged_outside: int = 0
    set_aside: int = 0


def _everything(session: Session, settings: Settings) -> _Scope:
    set_aside = session.count_set_aside().total
    chunks = _chunks(session, *_cut(session, settings, set_aside), set_aside)
    outside = count_outside(session, chunks, set_aside)
    return _Scope(chunks, unchanged_outside=outside, set_aside=set_aside)


def _what_has_its_turn(
    session: Session, settings: Settings, *, max_rows: int, created_at: str, because: str | None
) -> _Scope:
    rules = settings.derivation.rules(created_at)
    with Witness(session, settings, signer_of(settings), because=because) as witness:
        keys = partial(countable_keys, session, rules, witness)
        chunks, stop_reason = take_turns(session, keys, settings.pacing.chunk_rows, max_rows)
    return _Scope(chunks, stop_reason)


def _cut(session: Facts, settings: Settings, set_aside: int) -> tuple[Cuts, Key]:
    """Cut all residual keys, most of them unseen. Also: the first of them."""
    cuts = Cuts(settings.pacing.chunk_rows)
    try:
        all_residual = session.count_residual()
        residual = all_residual - set_aside
        key_at = session.fact_key if all_residual == session.count_facts() else session.residual_key
        first_key = key_at(after=None, skip=0) if residual else None
        cuts.take(_stored(key_at, first_key, residual))
    except RowRefusedError:  # a fact of which the database cannot say whether it is residual
        cuts = Cuts(settings.pacing.chunk_rows)
        first_key = cuts.take_streamed(fact[0] for fact in session.residual_facts())
    return cuts, first_key


class KeyAt(Protocol):
    """Finds the key that lies `skip` residual keys beyond the next one after `after`."""

    def __call__(self, *, after: Key, skip: int) -> Key: ...


def _stored(key_at: KeyAt, first_key: Key, residual: int) -> Walk:
    """Over all residual keys of a store, in which so many were counted. What lies between two cuts is not even read."""
    left, last = residual, first_key
    ahead = min(1, residual)  # keys that were found but not passed yet

    def walk(wanted: int) -> tuple[int, Key]:
        nonlocal left, last, ahead
        passed = min(wanted, left)
        if passed > ahead:
            last = key_at(after=last, skip=passed - ahead - 1)
            ahead = 0
        ahead -= min(ahead, passed)
        left -= passed
        return passed, last

    return walk


def _chunks(session: Facts, cuts: Cuts, first_key: Key, set_aside: int) -> tuple[PlannedChunk, ...]:
    """The cuts as chunks; facts without a usable key go with the first, which then begins at the very start."""
    if not cuts.count:
        return (PlannedChunk(1, None, None, set_aside),) if set_aside else ()
    after = None if set_aside else session.key_before(first_key)
    first, *rest = cuts.chunks(after)
    return (PlannedChunk(1, after, first.through, first.residual + set_aside), *rest)


def count_outside(session: Facts, chunks: tuple[PlannedChunk, ...], set_aside: int) -> int:
    """Facts before the first chunk and after the last one."""
    if not chunks:
        return session.count_facts()
    if chunks[-1].through is None:
        return session.count_facts() - set_aside
    before = session.count_through(chunks[0].after) if chunks[0].after is not None else 0
    return before + session.count_beyond(chunks[-1].through)


def plan_backfill(
    settings: Settings, paths: RunPaths, *, max_rows: int | None, created_at: str, because: str | None = None
) -> Plan:
    """Make the plan of a run and freeze it; a plan that the ledger already holds is written again instead.

    Raises StateError if that plan, or one that another process froze meanwhile, is not for this command.
    """
    with open_store(settings).session(write=False) as session:
        if because is not None:
            refuse_without_notes(session.binding.log, kept="the reason of --because")
        if session.binding.follows_changes:
            refuse_without_notes(session.binding.log, kept="what derivation.on_change: reattest supersedes")
        plan = plan_of_ledger(session, paths) or make_plan(
            session, settings, run_id=paths.run_id, max_rows=max_rows, created_at=created_at, because=because
        )
    plan = freeze(plan, paths)
    refuse_foreign_plan(plan, paths, settings)
    refuse_other_budget(plan, paths, max_rows)
    refuse_other_reattestation(plan, paths, because)
    logger.info(
        "plan %s: %d residual facts in %d chunks%s, planned in %.1f s", plan.plan_id[:12], plan.residual,
        len(plan.chunks), f" (--max-rows {max_rows})" if max_rows else "", plan.planning_seconds,
    )  # fmt: skip
    return plan
