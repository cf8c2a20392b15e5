"""How a store fares under runs with a row budget: what waits, what arrives, and when all will have had their turn."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from tasks.runs.plans import Plan
from tasks.stores.protocols.session import Session

_DAY = 86_400  # seconds


@dataclass(frozen=True)
class Turns:
    """Counts are facts. `arrivals` is how many more facts wait than the last run with a budget left, besides those that
    this one settled (less than 0 where others settled or deleted some); None where this is the first. `days_to_go` goes
    on at the pace of these two runs, facts that stay rejected included; None where that is not known, or where
    `never_ends`.
    """

    waiting: int
    oldest_waiting: str | int | float | None
    arrivals: int | None = None
    days_since_last_run: float | None = None
    never_ends: bool = False
    days_to_go: float | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def turns(session: Session, plan: Plan, rows: dict[str, int], *, remaining: int, now: str) -> Turns | None:
    """How a run with a budget fared; None without one."""
    if plan.max_rows is None:
        return None
    settled = rows["inserted"] + rows["updated"]
    waiting = max(0, remaining - rows["rejected"])
    before = session.last_budgeted_run(plan.run_id)
    oldest = session.oldest_waiting() if waiting else None
    if before is None:
        return Turns(waiting, oldest)
    finished_at, left = before
    arrivals = remaining + settled - left
    days = (datetime.fromisoformat(now[:-1]) - datetime.fromisoformat(finished_at[:-1])).total_seconds() / _DAY
    pace = settled - max(0, arrivals)
    return Turns(
        waiting,
        oldest,
        arrivals=arrivals,
        days_since_last_run=round(days, 3),
        never_ends=waiting > 0 and pace <= 0,
        days_to_go=round(-(-waiting // pace) * days, 1) if pace > 0 else None if waiting else 0.0,
    )


def turn_words(found: Turns) -> str:
    """The same as a line."""
    since = f" (the oldest since {found.oldest_waiting})" if found.oldest_waiting is not None else ""
    line = f"turns: {found.waiting:,} facts wait for theirs{since}"
    if found.arrivals is None:
        return f"{line}; the first run with a budget"
    line += f", {found.arrivals:,} arrived in the {found.days_since_last_run:g} days since the last run"
    if found.never_ends:
        return f"{line}: AT THIS PACE IT NEVER ENDS, raise --max-rows"
    return line if found.days_to_go is None else f"{line}: {found.days_to_go:g} days to go"
