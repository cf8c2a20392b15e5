"""One attempt at one chunk of a backfill, or of its rehearsal, from files to marker: what BackfillChunk does."""

from __future__ import annotations

import logging
from collections.abc import Callable

from tasks.backfill.dry_run import rehearse_chunk
from tasks.backfill.live import backfill_chunk
from tasks.core.clock import utc_now
from tasks.core.collector import no_collector
from tasks.core.interrupts import end_without_traceback
from tasks.core.patience import patiently
from tasks.job.key_uses import refuse_other_store
from tasks.job.paths import RunPaths
from tasks.job.settings import Settings
from tasks.job.signers import log_signer_of, signer_of
from tasks.runs.chunk_run import ChunkRun
from tasks.runs.frozen_plans import refuse_other_binding, require_plan
from tasks.runs.ledger import refuse_lost_ledger
from tasks.runs.loop import Progress
from tasks.runs.markers import read_marker
from tasks.sealed_log.history import refuse_unsealable
from tasks.sealed_log.key_standing import refuse_ended_keys
from tasks.stores.open import open_store

logger = logging.getLogger("luigi-interface")


def run_chunk(settings: Settings, paths: RunPaths, number: int, *, progress: Callable[[Progress], None]) -> None:
    """Backfill or rehearse one chunk of the frozen plan and leave its marker.

    The gate is passed again first, so a chunk never runs on a schema that was not gated. A lock or a full disk may
    pass by itself: then the chunk goes on from its cursor, up to ATTEMPTS times. Any other error is raised at once.
    """
    try:
        patiently(lambda: _attempt(settings, paths, number, progress))
    except KeyboardInterrupt:
        if paths.dry_run:
            logger.warning("chunk %d: interrupted. Nothing was written; run the same command again.", number)
        end_without_traceback()
        raise


def _attempt(settings: Settings, paths: RunPaths, number: int, progress: Callable[[Progress], None]) -> None:
    plan = require_plan(paths, settings)
    read_marker(plan, paths, plan.chunk(number).chunk)  # a marker of another plan is refused before any work
    signer, log_signer = signer_of(settings), None if paths.dry_run else log_signer_of(settings)
    refuse_ended_keys(settings, rows=signer, checkpoints=log_signer)
    if log_signer is not None:
        refuse_unsealable(settings, log_signer)
    run = ChunkRun(
        settings=settings,
        paths=paths,
        plan=plan,
        chunk=plan.chunk(number),
        signer=signer,
        clock=utc_now,
        progress=progress,
        log_signer=log_signer if signer else None,
    )
    with open_store(settings).session(write=not paths.dry_run) as session:
        refuse_other_store(session.opened, signer, log_signer)
        refuse_other_binding(plan, session.binding)
        if not paths.dry_run and paths.marker(number).exists():
            refuse_lost_ledger(session, paths, plan)
        with no_collector():
            (rehearse_chunk if paths.dry_run else backfill_chunk)(session, run)
    _tell(run)


def _tell(run: ChunkRun) -> None:
    """One line for a finished chunk, with how far the whole run is, from the markers that are there."""
    marker = read_marker(run.plan, run.paths, run.chunk.chunk)
    if marker is None:  # somebody took it away since: the ledger has what it said
        return
    done = [c for c in run.plan.chunks if run.paths.marker(c.chunk).exists()]
    settled = sum(c.residual for c in done)
    rows = ", ".join(f"{name} {count}" for name, count in marker.counts.rows().items() if name != "eligible")
    logger.info(
        "chunk %d: %s in %.1f s; run %s: %d of %d chunks, %d %%", run.chunk.chunk, rows, marker.seconds,
        run.plan.run_id, len(done), len(run.plan.chunks), 100 * settled // max(1, run.plan.residual),
    )  # fmt: skip
