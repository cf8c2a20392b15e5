"""The benchmark: this job beside a hand-written INSERT … SELECT and beside a row-at-a-time script.

    python tests/benchmarks/run.py                                  everything, 6.12 million facts
    python tests/benchmarks/run.py --facts 50000                    the same in a minute
    python tests/benchmarks/run.py --only reference,job-signed --repeat 3

1. Build the database, once per number of facts and profile (2 GB for 6.12 million).
2. Run every step as processes of their own, each on its own copy of the file, read once before (steps.py).
3. Check what each step did: counts, and the same digest of everything written wherever the same must be written.
4. Print the figures and the ratios beside their goals (goals.py).

The full size wants 30 GB of free disk. Exits with 1 if a step failed or did something else than it had to, whatever
the times are.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import databases
import goals
from measuring import StepError, machine
from steps import PROJECT, SLOW, STEPS, Bench, Result, original_database


@dataclass
class Outcome:
    """What was measured so far, and what went wrong."""

    rounds: list[goals.Round] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def run_rounds(bench: Bench, original: Path, names: list[str], repeat: int) -> Outcome:
    """All steps in turn, `repeat` times, so that what is compared ran close together."""
    outcome = Outcome()
    for _ in range(repeat):
        results: goals.Round = {}
        outcome.rounds.append(results)
        _run_round(bench, original, names, outcome)
        if len({result.digest for result in results.values() if result.digest}) > 1:
            digests = ", ".join(f"{name} {r.digest[:12]}…" for name, r in results.items() if r.digest)
            outcome.failures.append(f"round {len(outcome.rounds)}: not the same rows were written: {digests}")
    return outcome


def _run_round(bench: Bench, original: Path, names: list[str], outcome: Outcome) -> None:
    """The steps that go on from the sealed result share its copy; every other step has its own."""
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder, ExitStack() as of_sealed:
        here = Bench(
            facts=bench.facts, workers=bench.workers, folder=Path(folder), seed=bench.seed, log_seed=bench.log_seed
        )
        sealed: Path | None = None
        for name in names:
            step = STEPS[name]
            if step.starts_from == "nothing":
                _run_step(here, name, original, outcome)
            elif name == "job-sealed":
                sealed = of_sealed.enter_context(databases.fresh_copy(original, here.folder, "sealed.db"))
                if not _run_step(here, name, sealed, outcome):
                    sealed = None
            elif step.starts_from == "the sealed result":
                if sealed is None:
                    outcome.failures.append(f"{name}: there is no sealed result to start from")
                else:
                    databases.settle(sealed)
                    _run_step(here, name, sealed, outcome)
            else:
                with databases.fresh_copy(original, here.folder, "fresh.db") as copy:
                    _run_step(here, name, copy, outcome)


def _run_step(bench: Bench, name: str, database: Path, outcome: Outcome) -> bool:
    """One step; True if it did what it had to. Its figures count only then."""
    try:
        result: Result = STEPS[name].run(bench, database)
    except StepError as error:
        outcome.failures.append(f"{name}: {error}")
        print(f"{name}: FAILED: {error}", file=sys.stderr, flush=True)
        return False
    outcome.rounds[-1][name] = result
    print(f"{name}: {result.seconds:.1f} s, {result.rows_per_second:,.0f} rows/s", file=sys.stderr, flush=True)
    return True


def _content(options: argparse.Namespace, outcome: Outcome) -> dict[str, Any]:
    return {
        "machine": machine(),
        "facts": options.facts,
        "profile": options.profile,
        "workers": options.workers,
        "rounds": [{name: result.as_json() for name, result in results.items()} for results in outcome.rounds],
        "ratios": goals.compare(outcome.rounds),
        "limits": goals.limits(outcome.rounds),
        "failures": outcome.failures,
    }


def _step_names(text: str) -> list[str]:
    """The steps asked for, in the order in which they run, with the one that others go on from."""
    asked = set(text.split(","))
    if unknown := sorted(asked - STEPS.keys()):
        raise argparse.ArgumentTypeError(f"no such step: {', '.join(unknown)}. There are {', '.join(STEPS)}")
    if any(STEPS[name].starts_from == "the sealed result" for name in asked):
        asked.add("job-sealed")
    return [name for name in STEPS if name in asked]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: expected 1 or more")
    return number


def _options() -> argparse.Namespace:
    usual = [name for name in STEPS if name not in SLOW]
    parser = argparse.ArgumentParser(description="Compare this job with two hand-written ways to do the same.")
    parser.add_argument("--facts", type=_positive, default=6_120_000, help="default: 6120000")
    parser.add_argument("--profile", choices=("clustered", "scattered"), default="clustered")
    parser.add_argument("--workers", type=_positive, default=2, help="of the job; default: 2")
    parser.add_argument(
        "--only", type=_step_names, default=usual, metavar="NAME,...",
        help=f"default: {','.join(usual)}. Also: {','.join(sorted(SLOW))} (slow)",
    )  # fmt: skip
    parser.add_argument("--repeat", type=_positive, default=1, help="rounds; the ratios are medians over them")
    parser.add_argument("--work-dir", type=Path, default=PROJECT / "var" / "benchmarks", help="default: var/benchmarks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    return parser.parse_args()


def _stop(*_: object) -> None:
    """A SIGTERM ends like Ctrl-C: what was started is stopped, the copies are removed."""
    raise KeyboardInterrupt


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, _stop)
    work_dir: Path = options.work_dir.absolute()
    work_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=work_dir) as folder:
        bench = Bench(options.facts, options.workers, Path(folder), os.urandom(32).hex(), os.urandom(32).hex())
        original = original_database(bench, work_dir, profile=options.profile)
        outcome = run_rounds(bench, original, options.only, options.repeat)
    content = _content(options, outcome)
    if options.json:
        options.json.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    print(goals.table(content))
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StepError as error:
        sys.exit(f"the database of the benchmark: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; nothing is left but the database")
