"""What the report of a run with a row budget says of the facts that wait."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(("arrivals", "never_ends"), [(0, False), (4, False), (10, True), (15, True)])
def test_arrivals_and_the_days_to_go_are_told(
    store: Any, settings: Any, run: Any, arrivals: int, never_ends: bool
) -> None:
    made = store()
    made.add_facts({"id": key, "created_at": f"2026-05-{key:02} 12:00:00"} for key in range(1, 31))
    config = settings(made, small=True)
    first = run(config, "day-1", max_rows=10)["turns"]
    assert (first["waiting"], first["arrivals"], first["oldest_waiting"]) == (20, None, "2026-05-11 12:00:00")
    made.execute("UPDATE am_backfill_run SET finished_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-2 days')")
    made.add_facts({"id": 100 + n} for n in range(arrivals))
    second = run(config, "day-2", max_rows=10)["turns"]
    assert (second["waiting"], second["arrivals"]) == (10 + arrivals, arrivals)
    assert second["never_ends"] == never_ends
    runs = None if never_ends else -(-(10 + arrivals) // (10 - arrivals))
    assert second["days_to_go"] == (None if runs is None else pytest.approx(2 * runs, abs=0.2))


def test_without_a_budget_there_are_no_turns_and_none_wait_at_the_end(store: Any, settings: Any, run: Any) -> None:
    made = store()
    made.add_facts({"id": key} for key in range(1, 4))
    last = run(settings(made), "day-1", max_rows=5)["turns"]
    assert (last["waiting"], last["oldest_waiting"], last["never_ends"]) == (0, None, False)
    assert run(settings(made), "day-2")["turns"] is None
