"""Markers: files that project finished rows of the ledger, so that Luigi and people can see them.

A marker that is read back is input like any other, and is taken for one only if it is whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter

from tasks.core import durable
from tasks.core.documents import Count, Digest, JsonKey, Moment, Seconds, typed
from tasks.core.errors import NOTHING_WRITTEN, StateError
from tasks.core.fact_keys import to_json
from tasks.job.paths import Mode, RunPaths
from tasks.job.settings import Settings
from tasks.runs.frozen_plans import read_plan
from tasks.runs.ledger import done_chunks
from tasks.runs.plans import Plan, PlannedChunk
from tasks.stores.protocols.counts import NOTED, OUTCOMES, Counts
from tasks.stores.protocols.ledger import LedgerRow

KeyId = Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")]


@dataclass(frozen=True)
class Signatures:
    """What markers and reports say of signatures: `key_ids` has the rows of each key, `key_id` is the one that signed
    last, or that would sign where nothing was signed.
    """

    signed: Count
    placeholder: Count
    key_id: KeyId | None
    key_ids: dict[KeyId, Count]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def signatures_by(keys: Mapping[str, int], *, signed: int, placeholder: int, key_id: str | None) -> Signatures:
    """`keys` are `rows_by_key`; where they are none, `key_id` is as given."""
    return Signatures(signed, placeholder, [*keys][-1] if keys else key_id, dict(keys))


def foreseen_keys(key_id: str | None, signed: int) -> dict[str, int]:
    """`rows_by_key` of a rehearsal, which has one key."""
    return {key_id: signed} if key_id and signed else {}


@dataclass(frozen=True)
class Rehearsed:
    """What only a rehearsal's marker has: the ledger of a live run keeps it. `content` is what would be attested, as
    128 hex digits, where that is compared.
    """

    rejects: dict[str, Count]
    sample: list[dict[str, Any]]
    content: Annotated[str, StringConstraints(pattern="^[0-9a-f]{128}$")] | None


def _not_negative(counts: Counts) -> Counts:
    if min(counts.by_name().values()) < 0:
        raise ValueError("less than none")
    return counts


@dataclass(frozen=True, kw_only=True)
class Marker:
    """One finished chunk. Seconds are those of the work on it, over all attempts."""

    run_id: str
    plan_id: Digest
    mode: Mode
    chunk: Annotated[int, Field(ge=1)]
    after: JsonKey
    through: JsonKey
    counts: Annotated[Counts, AfterValidator(_not_negative)]
    signatures: Signatures
    seconds: Seconds
    attempts: Count
    host: str
    pid: Count
    started_at: Moment
    finished_at: Moment
    rehearsed: Rehearsed | None = field(default=None)

    def as_json(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "plan_id": self.plan_id,
            "mode": self.mode,
            "chunk": self.chunk,
            "after": to_json(self.after),
            "through": to_json(self.through),
            "rows": self.counts.rows(),
            "signatures": self.signatures.as_json(),
            **self.counts.noted(),
            "seconds": self.seconds,
            "attempts": self.attempts,
            "host": self.host,
            "pid": self.pid,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            **(asdict(self.rehearsed) if self.rehearsed else {}),
        }


_MARKERS = TypeAdapter(Marker)
_IN_PARTS = ("rows", *NOTED, "rejects", "sample", "content")


def marker_of_json(content: dict[str, Any]) -> Marker:
    """The marker that a JSON object spells. Raises ValueError unless it is one that this job could have left."""
    try:
        signatures = content["signatures"]
        counts = {name: content["rows"][name] for name in OUTCOMES} | {name: content[name] for name in NOTED}
        counts |= {name: signatures[name] for name in ("signed", "placeholder")}
        rehearsed = {name: content[name] for name in ("rejects", "sample", "content") if content["mode"] == "dry-run"}
    except (KeyError, TypeError):
        raise ValueError("a member is missing") from None
    plain = {name: value for name, value in content.items() if name not in _IN_PARTS}
    marker = typed(_MARKERS, {**plain, "counts": counts, "rehearsed": rehearsed or None})
    if marker.as_json() != content:
        raise ValueError("it has members that no marker has")
    return marker


def marker_of_row(
    plan: Plan, row: LedgerRow, keys: Mapping[str, int], *, mode: Mode, key_id: str | None,
    rehearsed: Rehearsed | None = None,
) -> Marker:  # fmt: skip
    """A projection of a chunk's finished row and of `rows_by_key` of its batches, no more."""
    assert row.finished_at is not None  # only what is done has a marker
    counts = row.counts
    return Marker(
        run_id=plan.run_id,
        plan_id=row.plan_id,
        mode=mode,
        chunk=row.chunk,
        after=row.after,
        through=row.through,
        counts=counts,
        signatures=signatures_by(keys, signed=counts.signed, placeholder=counts.placeholder, key_id=key_id),
        seconds=round(row.seconds, 3),
        attempts=row.attempts,
        host=row.host,
        pid=row.pid,
        started_at=row.started_at,
        finished_at=row.finished_at,
        rehearsed=rehearsed,
    )


def write_marker(marker: Marker, paths: RunPaths) -> None:
    """Leave the marker, durably. Whoever calls it knows that what it tells of is."""
    durable.write_durably(paths.marker(marker.chunk), durable.to_text(marker.as_json()), root=paths.state_dir)


def read_marker(plan: Plan, paths: RunPaths, chunk: int) -> Marker | None:
    """The marker of a chunk of `plan`, or None if it is missing, torn or none. Raises StateError for another plan's."""
    path = paths.marker(chunk)
    content = durable.read_json(path, root=paths.state_dir)
    if content is None or "plan_id" not in content or content.get("chunk") != chunk:
        return None
    if content["plan_id"] != plan.plan_id:
        raise StateError(
            f"marker {path} belongs to plan {str(content['plan_id'])[:12]}…, the current plan is {plan.plan_id[:12]}…",
            hint="Use a new --run-id",
            written=NOTHING_WRITTEN,
        )
    try:
        return marker_of_json(content)
    except ValueError:
        return None


def chunk_is_done(settings: Settings, paths: RunPaths, chunk: int) -> bool:
    """True if the chunk's marker is whole and of the current plan, and the ledger says the same. A torn marker counts
    as none, and one that the ledger does not bear out too: the chunk is run, and its marker written again.

    Raises StateError if the marker is of another plan, or the plan has no such chunk.
    """
    plan = read_plan(paths, settings)
    return plan is not None and _are_done(settings, paths, plan, [plan.chunk(chunk)])


def all_chunks_done(settings: Settings, plan: Plan, paths: RunPaths) -> bool:
    """`chunk_is_done` of every chunk of the plan."""
    return _are_done(settings, paths, plan, plan.chunks)


def _are_done(settings: Settings, paths: RunPaths, plan: Plan, chunks: Sequence[PlannedChunk]) -> bool:
    """A rehearsal has nothing but its markers: it leaves no trace in the database."""
    if not all(read_marker(plan, paths, planned.chunk) is not None for planned in chunks):
        return False
    return paths.dry_run or {planned.chunk for planned in chunks} <= done_chunks(settings, paths, plan)
