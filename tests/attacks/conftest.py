"""What is attacked: a run that was planned and has not begun."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.backfill.plan_backfill import plan_backfill
from tasks.core.clock import now_text

FACTS = 25  # three chunks


@pytest.fixture
def planned(store: Any, settings: Any, paths: Any) -> Any:
    """(store, settings, paths, plan): 25 facts in 3 chunks, of which 1 must be rejected; planned, not begun."""
    made = store()
    made.add_source(1, "https://a.test/")
    made.add_facts({"id": key, "source_id": 1, "created_at": "2026-05-12"} for key in range(1, FACTS + 1))
    made.execute("UPDATE am_entity_facts SET created_at = 'no date' WHERE id = 7")
    config = settings(made, small=True)
    return made, config, paths(config), plan_backfill(config, paths(config), max_rows=None, created_at=now_text())
