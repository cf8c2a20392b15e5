"""The frozen plan of a run as a value, and as plan.json.

`plan_id` is the SHA-256 of everything in the plan that decides what the run does. A plan that was written
once is never made again under the same run id; the ledger keeps a copy, from which a lost file comes back.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from tasks.engine import markers
from tasks.engine.binding import Binding
from tasks.engine.errors import StateError
from tasks.engine.keys import Key, describe, from_json, to_json
from tasks.engine.paths import RunPaths
from tasks.engine.settings import Settings

StopReason = Literal["complete", "row_budget"]


@dataclass(frozen=True)
class PlannedChunk:
    """A key range `(after, through]` with `residual` facts at planning time. Chunks are numbered from 1.

    `after` None is the very start, NULL keys included; `through` None only where nothing but NULL keys is left.
    """

    chunk: int
    after: Key
    through: Key
    residual: int

    def __str__(self) -> str:
        return f"chunk {self.chunk} ({describe(self.after)}, {describe(self.through)}]"


@dataclass(frozen=True)
class Plan:
    """What one run covers. Rows are facts, seconds are wall time.

    `unchanged_outside` counts the facts outside all chunks, all of them unchanged; with a row budget the scope of the
    run is its chunks alone and it is 0. `null_keys` facts have no key and go with chunk 1.
    """

    run_id: str
    created_at: str
    database: str
    settings_digest: str
    schema_fingerprint: str
    binding_digest: str
    max_rows: int | None
    stop_reason: StopReason
    unchanged_outside: int
    null_keys: int
    chunks: tuple[PlannedChunk, ...]
    planning_seconds: float = 0.0

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
        return {"plan_id": self.plan_id if plan_id is None else plan_id, **values, "chunks": chunks}


def plan_from_json(content: dict[str, Any]) -> Plan | None:
    """The plan in a plan.json, or None if it is not one, whole and true to its digest."""
    try:
        chunks = tuple(
            PlannedChunk(c["chunk"], from_json(c["after"]), from_json(c["through"]), c["residual"])
            for c in content["chunks"]
        )
        values = {f.name: content[f.name] for f in fields(Plan)}
        plan = Plan(**{**values, "chunks": chunks})
        return plan if plan.plan_id == content["plan_id"] else None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def read_plan(paths: RunPaths, settings: Settings) -> Plan | None:
    """The frozen plan of the run, or None if there is none yet (or its file is torn).

    Raises StateError if it is the plan of another database or of other derivation rules.
    """
    try:
        status = paths.plan.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(
            f"{paths.plan}: cannot be read: {error.strerror}. Check state_dir. Nothing was written."
        ) from None
    plan = _read_plan_file(paths.plan, (status.st_ino, status.st_mtime_ns, status.st_size))
    if plan is not None:
        refuse_foreign_plan(plan, paths, settings)
    return plan


@lru_cache(maxsize=2)
def _read_plan_file(path: Path, version: tuple[int, int, int]) -> Plan | None:
    """Hundreds of tasks ask for the same plan; `version` tells one state of the file from the next."""
    content = markers.read_json(path)
    return plan_from_json(content) if content else None


def refuse_foreign_plan(plan: Plan, paths: RunPaths, settings: Settings) -> None:
    """Raise StateError unless the plan was made for this run, this database and these rules."""
    database = str(settings.database_path.resolve())
    if plan.run_id != paths.run_id:
        raise StateError(f"{paths.plan}: belongs to run {plan.run_id}. Use a new --run-id. Nothing was written.")
    if plan.database != database:
        raise StateError(
            f"{paths.plan}: run {plan.run_id} was planned for the database {plan.database}, the job file now names "
            f"{database}. Use a new --run-id or another state_dir. Nothing was written."
        )
    if plan.settings_digest != settings.digest:
        raise StateError(
            f"{paths.plan}: run {plan.run_id} was planned with other tables or another derivation than "
            f"{settings.job_file} has now. Use a new --run-id. Nothing was written."
        )


def refuse_other_binding(plan: Plan, binding: Binding) -> None:
    """Raise StateError unless every role is bound as it was when the run was planned (and rehearsed).

    A column that came or went since then would change what is attested, without a word.
    """
    if plan.binding_digest != binding.digest:
        absences = "; ".join(binding.absences) or "every optional column is there"
        raise StateError(
            f"run {plan.run_id} was planned on another schema: a column that the contract relies on came, went or was "
            f"renamed since. Now: {absences}. Mend the schema and run the same command again, or take the schema as it "
            f"is with a new --run-id. Nothing more was written."
        )


def refuse_other_budget(plan: Plan, paths: RunPaths, max_rows: int | None) -> None:
    """Raise StateError unless the plan was made with this row budget."""
    if plan.max_rows != max_rows:
        made, asked = (f"--max-rows {n}" if n is not None else "no --max-rows" for n in (plan.max_rows, max_rows))
        raise StateError(
            f"{paths.plan}: run {plan.run_id} was planned with {made}, this command has {asked}. Give the same, or use "
            f"a new --run-id. Nothing was written."
        )


def freeze(plan: Plan, paths: RunPaths) -> Plan:
    """Write plan.json once; the first writer wins and its plan is returned. A torn file is replaced."""
    text = markers.to_text(plan.as_json())
    if markers.write_once(paths.plan, text):
        return plan
    content = markers.read_json(paths.plan)
    first = plan_from_json(content) if content else None
    if first is not None:
        return first
    markers.write_durably(paths.plan, text)
    return plan


def with_seconds(plan: Plan, seconds: float) -> Plan:
    return replace(plan, planning_seconds=round(seconds, 3))
