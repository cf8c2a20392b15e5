"""The frozen plan of a run as a value, and as plan.json.

`plan_id` is the SHA-256 of everything in the plan that decides what the run does. A plan that was written
once is never made again under the same run id; the ledger keeps a copy, from which a lost file comes back.

Neither file nor ledger is believed for being there: a plan is checked like any input, `plan_of`, and its time is held
against the run's own row before anything is written, `refuse_other_time`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter

from tasks.attestation.supersession import is_reason
from tasks.core.documents import Count, Digest, JsonKey, Moment, Seconds, loads, typed
from tasks.core.errors import StateError
from tasks.core.fact_keys import describe, is_before, key_order, to_json
from tasks.job.paths import RUN_ID

logger = logging.getLogger("luigi-interface")

StopReason = Literal["complete", "row_budget"]


def _reason(text: str) -> str:
    if text and not is_reason(text):
        raise ValueError("no reason that --because could have given")
    return text


Reason = Annotated[str, AfterValidator(_reason)]

LONGEST_WAIT = timedelta(days=31)
"""A plan may be made, and rehearsed, so long before its live run begins: its time becomes the `extracted_at` of facts
without one, so it must not be any time that somebody likes."""

_CLOCKS_DIFFER = timedelta(minutes=5)
_MOST_CHUNKS = 10_000  # far more than any plan has, few enough to be read


@dataclass(frozen=True)
class PlannedChunk:
    """A key range `(after, through]` with `residual` facts at planning time. Chunks are numbered from 1.

    `after` None is the very start, facts set aside included; `through` None only where nothing but those is left.
    """

    chunk: Annotated[int, Field(ge=1)]
    after: JsonKey
    through: JsonKey
    residual: Count

    def __str__(self) -> str:
        return f"chunk {self.chunk} ({describe(self.after)}, {describe(self.through)}]"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one run of any kind covers. Rows are facts, seconds are wall time.

    What has a default is a backfill's own, but for `planning_seconds`, and `set_aside`, which verifying has too.
    `reattest` is an operator's reason to write over what is not as it was logged, empty if that was not asked for.
    `unchanged_outside` counts the facts outside all chunks, all of them unchanged; with a row budget the scope of the
    run is its chunks alone and it is 0. `set_aside` facts have no usable key and go with chunk 1.
    """

    run_id: Annotated[str, StringConstraints(pattern=f"^{RUN_ID.pattern}$")]
    created_at: Moment
    database: Annotated[str, StringConstraints(min_length=1)]
    settings_digest: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}( [0-9a-f]{64})?$")]
    schema_fingerprint: Digest
    binding_digest: Digest
    max_rows: Annotated[int, Field(ge=1)] | None = None
    stop_reason: StopReason = "complete"
    unchanged_outside: Count = 0
    set_aside: Count = 0
    chunks: Annotated[tuple[PlannedChunk, ...], Field(max_length=_MOST_CHUNKS)]
    planning_seconds: Seconds = 0.0
    reattest: Reason = ""

    @property
    def residual(self) -> int:
        return sum(chunk.residual for chunk in self.chunks)

    @property
    def plan_id(self) -> str:
        content = self.as_json(plan_id="")
        del content["planning_seconds"]
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def chunk(self, number: int) -> PlannedChunk:
        """Raises StateError for a number that the plan does not have."""
        if not 1 <= number <= len(self.chunks):
            has = f"has chunks 1 to {len(self.chunks)}" if self.chunks else "has no chunks"
            raise StateError(f"--chunk {number}: the plan of run {self.run_id} {has}. Nothing was written.")
        return self.chunks[number - 1]

    def as_json(self, plan_id: str | None = None) -> dict[str, Any]:
        chunks = [
            {"chunk": c.chunk, "after": to_json(c.after), "through": to_json(c.through), "residual": c.residual}
            for c in self.chunks
        ]
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        if not self.reattest:  # as in every plan that was made before one could ask for it
            del values["reattest"]
        return {"plan_id": self.plan_id if plan_id is None else plan_id, **values, "chunks": chunks}


_PLANS = TypeAdapter(Plan)


def plan_of(content: dict[str, Any]) -> Plan:
    """The plan that a JSON object spells. Raises ValueError unless it is one that planning could have made.

    Every member has its type and range, the chunks are numbered from 1 and do not overlap, and the digest is right.
    """
    plan = typed(_PLANS, content)
    for name in plan.as_json(plan_id=""):
        if name not in content and name != "planning_seconds":
            raise ValueError(f"{name}: Field required")
    for number, chunk in enumerate(plan.chunks, 1):
        if chunk.chunk != number:
            raise ValueError(f"chunks: number {chunk.chunk} stands where {number} is expected")
        if chunk.through is None and (len(plan.chunks) > 1 or chunk.after is not None):
            raise ValueError(f"{chunk}: no end, which only a chunk of nothing but NULL keys may have")
        if chunk.through is not None and not is_before(chunk.after, chunk.through):
            raise ValueError(f"{chunk}: begins at or behind its end")
    for one, other in pairwise(sorted(plan.chunks, key=lambda chunk: key_order(chunk.after))):
        if is_before(other.after, one.through):
            raise ValueError(f"{one} and {other} overlap")
    if plan.plan_id != content.get("plan_id"):
        raise ValueError("plan_id: is not the digest of what the plan says")
    return plan


def plan_from_json(content: dict[str, Any]) -> Plan | None:
    """The plan that a JSON object spells, or None if it is none."""
    try:
        return plan_of(content)
    except ValueError:
        return None


def plan_from_ledger(plan_id: str, text: str, *, started_at: str, run_id: str) -> Plan:
    """The plan that the ledger keeps with a run. Raises StateError unless it is a plan, this run's, and of its time."""
    try:
        plan = plan_of(loads(text))
        if plan.plan_id != plan_id:
            raise ValueError(f"plan_id: the plan is {plan.plan_id[:12]}…, the run has {str(plan_id)[:12]!a}…")
    except ValueError as error:
        raise StateError(
            f"run {run_id}: the plan in the ledger is none that this job has made: {error}. Somebody altered the row: "
            f"use a new --run-id, and find out who writes to the database. Nothing was written."
        ) from None
    refuse_other_time(plan, started_at=started_at)
    return plan


def refuse_other_time(plan: Plan, *, started_at: str) -> None:
    """Raise StateError unless the plan was made before its run began, and not long before."""
    made, started = (datetime.fromisoformat(text[:-1]) for text in (plan.created_at, started_at))
    if started - LONGEST_WAIT <= made <= started + _CLOCKS_DIFFER:
        return
    raise StateError(
        f"run {plan.run_id}: its plan says that it was made at {plan.created_at}, and the run begins at {started_at}: "
        f"expected at most {LONGEST_WAIT.days} days between them, as that time becomes the extracted_at of facts "
        f"without one. Use a new --run-id. Nothing was written."
    )


def clock_words(plan: Plan, *, began_at: str) -> str | None:
    """A warning where rows were signed before the plan was made, by their times: a clock was set back between."""
    if began_at >= plan.created_at:
        return None
    return (
        f"the plan was made at {plan.created_at}, and rows are signed from {began_at} on, before that: a clock "
        f"was set back between. The log's times are not in the order of its ids, and a fact without created_at says "
        f"that it was extracted after it was signed"
    )


def with_seconds(plan: Plan, seconds: float) -> Plan:
    return replace(plan, planning_seconds=round(seconds, 3))
