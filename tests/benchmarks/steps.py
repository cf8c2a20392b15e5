"""The steps of one round: who does what on which database, and what must have come of it.

step           starts from       must end with
reference      fresh facts       every fact inserted and logged once
job-unsigned   fresh facts       the same rows
signing-rate   nothing           -
job-signed     fresh facts       the same rows, signed
job-sealed     fresh facts       the same, and every log row sealed in the same run
job-converged  job-sealed's end  nothing changed
row-converged  job-converged's   the rows without a source written and logged once more
row-dry        fresh facts       every fact would be inserted; nothing written
job-dry        fresh facts       the same
job-dry-1      fresh facts       the same, by one worker
row-live       fresh facts       the rows of the reference, signed

job-audit      job-sealed's end  the root rebuilt, nothing found
job-verify     job-sealed's end  every row valid
verify-rate    nothing           -
job-explain    job-sealed's end  every fact asked for is known and valid
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import databases
from measuring import Measured, StepError, measure

PROJECT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
KEY_VARIABLE = "AUTONOMATH_FACT_SIGN_PRIVATE_KEY"
LOG_KEY_VARIABLE = "PROVENANCE_CHECKPOINT_PRIVATE_KEY"
_MOST_SIGNATURES = 200_000
_MOST_EXPLAINED = 200


@dataclass(frozen=True)
class Bench:
    """What all steps share. `folder` is theirs alone and goes away at the end; the seeds are throw-away keys."""

    facts: int
    workers: int
    folder: Path
    seed: str = field(repr=False)
    log_seed: str = field(repr=False)

    def environment(self, *, signed: bool, sealed: bool = False) -> dict[str, str]:
        """This program's environment without what could reach the job, or Python, from outside."""
        foreign = ("AUTONOMATH_", "PROVENANCE_", "LUIGI_", "PYTHONDONTWRITEBYTECODE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        keys = {KEY_VARIABLE: self.seed} if signed else {}
        return {**kept, **keys, LOG_KEY_VARIABLE: self.log_seed} if sealed else {**kept, **keys}


@dataclass(frozen=True)
class Result:
    """One step's figures (see measuring.Measured), and a digest and figures of its own where there are any."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    disturbance: float
    rows_per_second: float
    planning_seconds: float | None = None
    digest: str | None = None
    slowest_ms: float | None = None
    sealing_seconds: float | None = None

    def as_json(self) -> dict[str, Any]:
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()}


def _result(bench: Bench, measured: Measured, *, rate: float | None = None, **more: Any) -> Result:
    """Rows per second over the whole step, unless the step itself says better."""
    rate = rate or bench.facts / measured.seconds
    return Result(measured.seconds, measured.cpu_seconds, measured.peak_mb, measured.disturbance, rate, **more)


# -- the hand-written contenders ---------------------------------------------------------------------


def _script(bench: Bench, name: str, *arguments: str, signed: bool = False) -> Measured:
    command = [sys.executable, str(HERE / f"{name}.py"), *arguments]
    return measure(command, env=bench.environment(signed=signed), cwd=HERE, log=bench.folder / f"{name}.log")


def _reference(bench: Bench, database: Path) -> Result:
    measured = _script(bench, "reference", str(database))
    _require({"inserted": bench.facts, "log": bench.facts}, measured.result())
    return _result(bench, measured, digest=_written(bench, database))


def _row_live(bench: Bench, database: Path) -> Result:
    measured = _script(bench, "row_at_a_time", str(database), signed=True)
    _require({"inserted": bench.facts, "updated": 0, "unchanged": 0}, measured.result())
    return _result(bench, measured, digest=_written(bench, database))


def _row_dry(bench: Bench, database: Path) -> Result:
    measured = _script(bench, "row_at_a_time", str(database), "--dry-run", signed=True)
    _require({"inserted": bench.facts, "updated": 0, "unchanged": 0}, measured.result())
    _untouched(database)
    return _result(bench, measured)


def _row_converged(bench: Bench, database: Path) -> Result:
    again = databases.without_source(database)
    measured = _script(bench, "row_at_a_time", str(database), signed=True)
    _require({"inserted": 0, "updated": again, "unchanged": bench.facts - again}, measured.result())
    _require_rows(database, metadata=bench.facts, log=bench.facts + again)
    return _result(bench, measured)


def _bare_rate(bench: Bench, what: str, processes: int) -> Result:
    measured = _script(bench, "bare_rate", what, str(min(bench.facts, _MOST_SIGNATURES)), str(processes))
    found = measured.result()
    return _result(bench, measured, rate=found["signatures"] / found["seconds"])


# -- this job, through its command line --------------------------------------------------------------


def _luigi(
    bench: Bench, database: Path, *arguments: str, log: str, signed: bool = False, sealed: bool = False
) -> Measured:
    env = bench.environment(signed=signed, sealed=sealed)
    env |= {"AUTONOMATH_DB_PATH": str(database), "PROVENANCE_STATE_DIR": str(bench.folder / "state")}
    command = [str(Path(sys.executable).with_name("luigi")), "--module", "tasks", *arguments, "--local-scheduler"]
    return measure(command, env=env, cwd=PROJECT, log=bench.folder / f"{log}.log")


def original_database(bench: Bench, work_dir: Path, *, profile: str) -> Path:
    """The database that every step gets a copy of: built once, then kept. What the schema gained since is added."""
    path = databases.cached_path(work_dir, facts=bench.facts, profile=profile)
    if path.exists():
        _luigi(bench, path, "ApplySchema", log="apply-schema")
        databases.fold_log(path)
    else:
        databases.build(path, facts=bench.facts, profile=profile)
    return path


class _Run(NamedTuple):
    """One run of the job: its figures, its report and its plan."""

    measured: Measured
    report: dict[str, Any]
    planning_seconds: float


def _run_job(
    bench: Bench,
    database: Path,
    run_id: str,
    *,
    signed: bool,
    workers: int,
    dry_run: bool = False,
    sealed: bool = False,
) -> _Run:
    options = ("--workers", str(workers), "--run-id", run_id, *(["--dry-run"] if dry_run else []))
    measured = _luigi(bench, database, "Report", *options, log=run_id, signed=signed, sealed=sealed)
    folder = bench.folder / "state" / run_id
    report = json.loads((folder / ("dry-run" if dry_run else "live") / "report.json").read_text())
    plan = json.loads((folder / "plan.json").read_text())
    return _Run(measured, report, plan["planning_seconds"])


def _job_live(bench: Bench, database: Path, name: str, *, signed: bool, sealed: bool = False) -> Result:
    run = _run_job(bench, database, name, signed=signed, sealed=sealed, workers=bench.workers)
    _require(_all(bench, "inserted"), run.report["rows"])
    by_kind = {"signed": bench.facts, "placeholder": 0} if signed else {"signed": 0, "placeholder": bench.facts}
    _require(by_kind, run.report["signatures"])
    _require({"remaining": 0}, run.report)
    digest, sealing = _written(bench, database), None
    if sealed:
        leaves = {"new_leaves": bench.facts, "tree_size": bench.facts, "unsealed_rows": 0}
        _require(leaves, run.report["sealed"])
        sealing = run.report["sealed"]["seconds"]
    return _result(bench, run.measured, planning_seconds=run.planning_seconds, digest=digest, sealing_seconds=sealing)


def _job_dry(bench: Bench, database: Path, *, workers: int) -> Result:
    run = _run_job(bench, database, f"dry-{workers}", signed=True, workers=workers, dry_run=True)
    _require(_all(bench, "inserted"), run.report["rows"])
    _require({"remaining": bench.facts}, run.report)
    _untouched(database)
    return _result(bench, run.measured, planning_seconds=run.planning_seconds)


def _job_converged(bench: Bench, database: Path) -> Result:
    run = _run_job(bench, database, "converged", signed=True, workers=bench.workers)
    _require(_all(bench, "unchanged"), run.report["rows"])
    _require({"remaining": 0}, run.report)
    _require_rows(database, metadata=bench.facts, log=bench.facts)
    return _result(bench, run.measured, planning_seconds=run.planning_seconds)


# -- what auditors and developers do with the result -------------------------------------------------


def _provenance(bench: Bench, database: Path, *arguments: str, log: str, **keys: str) -> Measured:
    env = bench.environment(signed=False) | keys
    env |= {"AUTONOMATH_DB_PATH": str(database), "PROVENANCE_STATE_DIR": str(bench.folder / "state")}
    command = [str(Path(sys.executable).with_name("provenance")), *arguments, "--json"]
    return measure(command, env=env, cwd=PROJECT, log=bench.folder / f"{log}.log")


def _vkey(bench: Bench, use: str) -> str:
    """The public part of one of the throw-away keys, as an auditor would have got it."""
    keys = {KEY_VARIABLE: bench.seed, LOG_KEY_VARIABLE: bench.log_seed}
    printed = _provenance(bench, Path("unused"), "public-key", "--use", use, log=f"public-key-{use}", **keys)
    return str(json.loads(printed.output)["vkey"])


def _job_audit(bench: Bench, database: Path) -> Result:
    newest = max((bench.folder / "state" / "checkpoints").rglob("*.checkpoint"), key=lambda path: path.name)
    options = ("--checkpoint", str(newest), "--root-only", "--workers", str(bench.workers))
    key = ("--log-key", _vkey(bench, "checkpoints"))
    measured = _provenance(bench, database, "audit", *options, *key, log="audit")
    _require({"tree_size": bench.facts, "leaves": bench.facts}, json.loads(measured.output))
    return _result(bench, measured)


def _job_verify(bench: Bench, database: Path) -> Result:
    key = ("--key", _vkey(bench, "rows"))
    measured = _provenance(bench, database, "verify", "--workers", str(bench.workers), *key, log="verify")
    _require({"valid": bench.facts}, json.loads(measured.output)["states"])
    return _result(bench, measured)


def _job_explain(bench: Bench, database: Path) -> Result:
    count = min(bench.facts, _MOST_EXPLAINED)
    measured = _script(bench, "explain_time", str(database), _vkey(bench, "rows"), str(count))
    return _result(bench, measured, rate=count / measured.seconds, slowest_ms=measured.result()["slowest_ms"])


# -- what must be true afterwards --------------------------------------------------------------------


def _all(bench: Bench, outcome: str) -> dict[str, int]:
    """The counts of a run that ends with this outcome for every fact."""
    counts = dict.fromkeys(("inserted", "updated", "unchanged", "rejected"), 0)
    return {"eligible": bench.facts, **counts, outcome: bench.facts}


def _require(expected: dict[str, int], found: dict[str, Any]) -> None:
    seen = {name: found.get(name) for name in expected}
    if seen != expected:
        raise StepError(f"the counts are {seen}, expected {expected}")


def _require_rows(database: Path, *, metadata: int, log: int) -> None:
    found = databases.rows_written(database)
    _require({"metadata": metadata, "log": log}, dict(zip(("metadata", "log"), found, strict=True)))


def _written(bench: Bench, database: Path) -> str:
    _require_rows(database, metadata=bench.facts, log=bench.facts)
    return databases.digest(database)


def _untouched(database: Path) -> None:
    _require_rows(database, metadata=0, log=0)


class Step(NamedTuple):
    title: str
    run: Callable[[Bench, Path], Result]
    starts_from: Literal["fresh facts", "the sealed result", "nothing"] = "fresh facts"


STEPS = {
    "reference": Step("INSERT … SELECT, unsigned", _reference),
    "job-unsigned": Step("this job, unsigned", lambda b, d: _job_live(b, d, "unsigned", signed=False)),
    "signing-rate": Step("signing alone, all workers", lambda b, d: _bare_rate(b, "sign", b.workers), "nothing"),
    "job-signed": Step("this job, signed", lambda b, d: _job_live(b, d, "signed", signed=True)),
    "job-sealed": Step("this job, signed and sealed", lambda b, d: _job_live(b, d, "sealed", signed=True, sealed=True)),
    "job-audit": Step("audit, root only", _job_audit, "the sealed result"),
    "job-verify": Step("verify every signature", _job_verify, "the sealed result"),
    "verify-rate": Step("verifying alone, 1 core", lambda b, d: _bare_rate(b, "verify", 1), "nothing"),
    "job-explain": Step("explain facts, one by one", _job_explain, "the sealed result"),
    "job-converged": Step("this job, again", _job_converged, "the sealed result"),
    "row-converged": Step("row at a time, again", _row_converged, "the sealed result"),
    "row-dry": Step("row at a time, dry run", _row_dry),
    "job-dry": Step("this job, dry run", lambda b, d: _job_dry(b, d, workers=b.workers)),
    "job-dry-1": Step("this job, dry run, 1 worker", lambda b, d: _job_dry(b, d, workers=1)),
    "row-live": Step("row at a time, signed", _row_live),
}
"""In the order in which a round takes them: a rate stands beside what is held against it, for machines drift."""

SLOW = frozenset({"row-live"})
"""Left out unless asked for by name."""
