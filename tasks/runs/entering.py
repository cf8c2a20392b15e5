"""The ledger's row of a run: the chunk that comes first enters it, every other sees that it belongs to it."""

from __future__ import annotations

import logging

from tasks.core import durable
from tasks.core.errors import NOTHING_WRITTEN, StateError
from tasks.runs.chunk_run import ChunkRun
from tasks.runs.plans import clock_words, refuse_other_time
from tasks.stores.protocols.ledger import Ledger, RunKind, RunRow

logger = logging.getLogger("luigi-interface")


def enter_run(session: Ledger, run: ChunkRun, kind: RunKind) -> None:
    """The ledger's run row must be this plan's; without one, enter it.

    A run that signs goes on with whatever key is good now, and one that does not sign never begins to, nor the other
    way round.
    """
    plan, key_id = run.plan, run.key_id
    found = session.read_run(run.paths.ledger_run_id)
    _refuse_other_time(session, run, found)
    if found is None:
        _refuse_finished_elsewhere(run)
        session.open_run(
            run_id=run.paths.ledger_run_id, kind=kind, plan_id=plan.plan_id,
            plan=durable.to_text(plan.as_json()), now=run.now(), attester=run.settings.derivation.attester,
            key_id=key_id,
        )  # fmt: skip
        found = session.read_run(run.paths.ledger_run_id)
        assert found is not None  # entered a moment ago, by this process or another
    if found.plan_id != plan.plan_id:
        raise StateError(
            f"run {plan.run_id} has the plan {found.plan_id[:12]}… in the ledger of "
            f"{run.settings.place}, and {plan.plan_id[:12]}… in {run.paths.plan}",
            hint="Use a new --run-id",
            written=NOTHING_WRITTEN,
        )
    if (found.key_id is None) != (key_id is None):
        again = "Configure a key again" if found.key_id else "Run it without a key again"
        raise StateError(
            f"run {plan.run_id} was started with {_key_words(found.key_id)}, now there is "
            f"{_key_words(key_id)}. {again}, or use a new --run-id",
            written=NOTHING_WRITTEN,
        )
    if found.key_id != key_id:
        logger.info("%s goes on with %s; run %s was started with %s", run.chunk, _key_words(key_id), plan.run_id,
                    _key_words(found.key_id))  # fmt: skip


def _refuse_finished_elsewhere(run: ChunkRun) -> None:
    """A ledger that does not know the run, but chunks of it that are done: it is the ledger of another file."""
    for planned in run.plan.chunks:
        path = run.paths.marker(planned.chunk)
        marker = durable.read_json(path, root=run.paths.state_dir) if path.exists() else None
        if marker is not None and marker.get("plan_id") == run.plan.plan_id:
            raise StateError(
                f"its ledger does not know run {run.plan.run_id}, but {path} says that chunk "
                f"{planned.chunk} of it is done: the file was moved, replaced or restored since, and "
                "what that chunk wrote is in the other one",
                where=f"database {run.settings.place}",
                hint="Put that file back, or use a new --run-id",
                written="Nothing was written to this one",
            )


def _refuse_other_time(session: Ledger, run: ChunkRun, found: RunRow | None) -> None:
    """The plan's time goes with the run's own row, and with today where there is still something to write."""
    if found is not None:
        refuse_other_time(run.plan, started_at=found.started_at)
    row = session.read_chunk(run.paths.ledger_run_id, run.chunk.chunk)
    if row is None or not row.is_done:
        refuse_other_time(run.plan, started_at=(now := run.now()))
        if words := clock_words(run.plan, began_at=now):
            logger.warning("%s: %s", run.chunk, words)


def _key_words(key_id: str | None) -> str:
    return f"the signing key {key_id}" if key_id else "no signing key"
