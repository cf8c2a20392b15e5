"""What the figures are held against, and the table that shows both.

Ratios are of wall times for one row, in the same round, on copies of the same database; the median over the rounds is
the one that counts. A goal that is missed is shown, never asserted: time depends on the machine and on its other work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, NamedTuple

from steps import STEPS, Result

Round = dict[str, Result]


class Ratio(NamedTuple):
    """`step` against `base`, time for one row: at most `goal`, better at most `stretch`. Without a goal, to know it."""

    step: str
    base: str
    goal: float | None = None
    stretch: float | None = None

    @property
    def name(self) -> str:
        return f"{self.step} / {self.base}"


RATIOS = (
    Ratio("job-signed", "reference", 1.4, 1.25),
    Ratio("job-unsigned", "reference", 0.9, 0.85),
    Ratio("job-dry", "row-dry", 1 / 8, 1 / 10),
    Ratio("job-dry-1", "row-dry", 1 / 8, 1 / 10),
    Ratio("job-converged", "row-converged", 1 / 30, 1 / 40),
    Ratio("signing-rate", "reference"),
    Ratio("job-signed", "signing-rate"),
    Ratio("job-sealed", "job-signed", 1.1, 1.1),
    Ratio("job-verify", "verify-rate", 1 / 1.7, 1 / 1.7),
)

PEAK_MB = 300.0
PLANNING_SECONDS = 15.0
AUDIT_SECONDS = 40.0
SEALING_SHARE = 0.1
EXPLAIN_MS = 50.0


def compare(rounds: Sequence[Round]) -> dict[str, dict[str, Any]]:
    """Every ratio whose two steps were run, by its name: the pairs, their median, and the goals."""
    found = {}
    for ratio in RATIOS:
        pairs = [
            results[ratio.base].rows_per_second / results[ratio.step].rows_per_second
            for results in rounds
            if ratio.step in results and ratio.base in results
        ]
        if pairs:
            found[ratio.name] = {
                "value": round(median(pairs), 4),
                "pairs": [round(pair, 4) for pair in pairs],
                **_against(median(pairs), ratio.goal, ratio.stretch),
            }
    return found


def limits(rounds: Sequence[Round]) -> dict[str, dict[str, Any]]:
    """The worst of what has a goal of its own, over all steps and rounds."""
    ran = [(name, result) for results in rounds for name, result in results.items() if name.startswith("job-")]
    worst = {
        "peak MB of one process": ([r.peak_mb for _, r in ran], PEAK_MB),
        "planning seconds": ([r.planning_seconds for _, r in ran if r.planning_seconds is not None], PLANNING_SECONDS),
        "audit seconds, root only": ([r.seconds for name, r in ran if name == "job-audit"], AUDIT_SECONDS),
        "sealing / the rest of its run": (
            [r.sealing_seconds / (r.seconds - r.sealing_seconds) for _, r in ran if r.sealing_seconds is not None],
            SEALING_SHARE,
        ),
        "explain ms, slowest": ([r.slowest_ms for _, r in ran if r.slowest_ms is not None], EXPLAIN_MS),
    }
    return {
        name: {"value": round(max(values), 3), **_against(max(values), goal, goal)}
        for name, (values, goal) in worst.items()
        if values
    }


def _against(value: float, goal: float | None, stretch: float | None) -> dict[str, Any]:
    if goal is None or stretch is None:
        return {"goal": None, "stretch": None, "verdict": ""}
    verdict = "stretch" if value <= stretch < goal else "met" if value <= goal else "MISSED"
    return {"goal": goal, "stretch": stretch, "verdict": verdict}


def table(content: dict[str, Any]) -> str:
    """The benchmark's outcome for people."""
    lines = [f"{name}: {value}" for name, value in content["machine"].items()]
    lines.append(f"facts: {content['facts']:,} ({content['profile']}), {content['workers']} workers")
    for number, results in enumerate(content["rounds"], start=1):
        lines += ["", f"round {number}", *_columns(_HEAD, (_figures(name, r) for name, r in results.items()))]
    lines += ["", "seconds: wall time of the whole command; others: cores that everything else on the machine took."]
    lines += [_DISTURBED] if _worst_disturbance(content) > _QUIET else []
    rows = [
        (name, f"{c['value']:.3f}", _bound(c["goal"]), _bound(c["stretch"]), c["verdict"], _pairs(c))
        for name, c in {**content["ratios"], **content["limits"]}.items()
    ]
    if rows:
        lines += ["", *_columns(("ratio of times per row", "median", "goal", "stretch", "", "rounds"), rows)]
    return "\n".join([*lines, *(f"\nFAILED {failure}" for failure in content["failures"])])


_QUIET = 0.1
_DISTURBED = "The machine was NOT QUIET: ratios of wall times say little. Run again when nothing else runs."


def _worst_disturbance(content: dict[str, Any]) -> float:
    return max((result["disturbance"] for results in content["rounds"] for result in results.values()), default=0.0)


_HEAD = ("step", "", "seconds", "CPU s", "rows/s", "peak MB", "planning s", "others")


def _figures(name: str, result: dict[str, Any]) -> tuple[str, ...]:
    planning = result["planning_seconds"]
    return (
        name, STEPS[name].title, f"{result['seconds']:.1f}", f"{result['cpu_seconds']:.1f}",
        f"{result['rows_per_second']:,.0f}", f"{result['peak_mb']:.0f}", "" if planning is None else f"{planning:.1f}",
        f"{result['disturbance']:.2f}",
    )  # fmt: skip


def _bound(value: float | None) -> str:
    if value is None:
        return ""
    return f"≤ 1/{1 / value:.0f}" if value < 0.5 else f"≤ {value:g}"


def _pairs(comparison: dict[str, Any]) -> str:
    pairs = comparison.get("pairs", [])
    return " ".join(f"{pair:.3f}" for pair in pairs) if len(pairs) > 1 else ""


def _columns(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Rows under a head, columns aligned: words to the left, figures to the right."""
    body = list(rows)
    aligned = [_aligned([title, *cells]) for title, *cells in zip(head, *body, strict=True)]
    return ["  ".join(line).rstrip() for line in zip(*aligned, strict=True)]


def _aligned(column: list[str]) -> list[str]:
    width = max(map(len, column))
    figures = all(not cell or cell[0] in "0123456789≤" for cell in column[1:])
    return [cell.rjust(width) if figures else cell.ljust(width) for cell in column]
