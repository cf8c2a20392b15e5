"""The frozen plan: written once, read with suspicion, and only for the run it was made for."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from tasks.backfill.plan_backfill import plan_backfill
from tasks.core import durable
from tasks.core.clock import now_text
from tasks.core.errors import StateError
from tasks.core.values import NotUtf8
from tasks.runs.frozen_plans import freeze, read_plan, refuse_other_budget
from tasks.runs.plans import Plan, PlannedChunk, plan_from_json, with_seconds

CREATED_AT = f"{now_text()[:10]}T00:00:00.000Z"
KEYS = (None, -5, 2**63 - 1, 1.5, "事実", "", b"\x00\xff", NotUtf8(b"\xff"))


@pytest.fixture
def made(store: Any, settings: Any, paths: Any) -> Any:
    """(settings, paths, plan) of a run over twelve facts that is planned and frozen."""
    database = store()
    database.add_facts({"id": key} for key in range(12))
    config = settings(database, small=True)
    return config, paths(config), plan_backfill(config, paths(config), max_rows=None, created_at=CREATED_AT)


def some_plan(*chunks: PlannedChunk) -> Plan:
    """A plan with a value in every field, whatever fields there are."""
    given: dict[str, Any] = {
        "run_id": "run-1",
        "max_rows": None,
        "stop_reason": "complete",
        "chunks": chunks,
        "planning_seconds": 0.5,
    }
    given |= {"created_at": CREATED_AT, "unchanged_outside": 0, "set_aside": 0}
    return Plan(**{f.name: given.get(f.name, "a" * 64) for f in fields(Plan)})


@pytest.mark.parametrize("key", KEYS)
def test_every_key_survives_the_way_through_the_file(key: Any) -> None:
    plan = some_plan(PlannedChunk(1, None, key, 3))
    back = plan_from_json(json.loads(durable.to_text(plan.as_json())))
    assert back == plan
    assert back is not None
    assert type(back.chunks[0].through) is type(key)


def test_a_chunk_in_a_message_shows_its_range() -> None:
    assert str(PlannedChunk(17, 1_600_000, 1_700_000, 5)) == "chunk 17 (1600000, 1700000]"
    assert str(PlannedChunk(1, None, "z", 5)) == "chunk 1 (start, 'z']"


@pytest.mark.parametrize("number", [0, -1, 3, 10**9])
def test_a_chunk_that_the_plan_does_not_have_is_refused(number: int) -> None:
    plan = some_plan(PlannedChunk(1, None, 5, 5), PlannedChunk(2, 5, 9, 4))
    assert plan.chunk(2).through == 9
    with pytest.raises(StateError, match=rf"--chunk {number}: the plan of run run-1 has chunks 1 to 2"):
        plan.chunk(number)
    with pytest.raises(StateError, match="has no chunks"):
        some_plan().chunk(1)


def test_the_digest_covers_every_field_but_how_long_planning_took() -> None:
    plan = some_plan(PlannedChunk(1, None, 5, 5))
    for field in fields(Plan):
        seen = getattr(plan, field.name)
        value: Any = () if isinstance(seen, tuple) else "other" if isinstance(seen, str) else 7
        changed = replace(plan, **{field.name: value})
        assert (changed.plan_id == plan.plan_id) == (field.name == "planning_seconds"), field.name
    assert with_seconds(plan, 3.5).plan_id == plan.plan_id


def test_the_digest_covers_every_chunk_and_tells_keys_of_different_kinds_apart() -> None:
    chunks = [
        PlannedChunk(1, None, 5, 5), PlannedChunk(2, None, 5, 5), PlannedChunk(1, 0, 5, 5), PlannedChunk(1, None, 6, 5),
        PlannedChunk(1, None, 5, 4), PlannedChunk(1, None, "5", 5), PlannedChunk(1, None, b"5", 5),
        PlannedChunk(1, None, NotUtf8(b"5"), 5), PlannedChunk(1, None, 5.5, 5),
    ]  # fmt: skip
    assert len({some_plan(chunk).plan_id for chunk in chunks}) == len(chunks)


def test_a_frozen_plan_is_read_back(made: Any) -> None:
    config, paths, plan = made
    assert read_plan(paths, config) == plan
    assert len(plan.chunks) == 2
    assert json.loads(paths.plan.read_text(encoding="utf-8"))["plan_id"] == plan.plan_id


def test_a_run_is_planned_once_whatever_the_store_holds_by_then(made: Any) -> None:
    config, paths, plan = made
    other = replace(plan, created_at="2030-01-01T00:00:00.000Z")
    assert freeze(other, paths) == plan
    assert plan_backfill(config, paths, max_rows=None, created_at="2030-01-01T00:00:00.000Z") == plan
    assert read_plan(paths, config) == plan


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"plan_id": "x", "chunks": []}', "null", '{"chunks": 7}'])
def test_a_torn_or_foreign_file_counts_as_no_plan_and_is_replaced(made: Any, content: str) -> None:
    config, paths, plan = made
    paths.plan.write_text(content, encoding="utf-8")
    assert read_plan(paths, config) is None
    assert freeze(plan, paths) == plan
    assert read_plan(paths, config) == plan


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["chunks"].pop(),
        lambda c: c["chunks"][0].update(through=99),
        lambda c: c["chunks"][0].update(through=True),
        lambda c: c["chunks"][0].update(residual=1),
        lambda c: c.update(max_rows=7),
        lambda c: c.update(created_at="2030-01-01T00:00:00.000Z"),
        lambda c: c.update(plan_id="0" * 64),
        lambda c: c.pop("set_aside"),
        lambda c: c.update(chunks={"a": 1}),
        lambda c: c.update(chunks=[7]),
    ],
)
def test_a_plan_that_somebody_edited_is_not_followed(made: Any, change: Any) -> None:
    config, paths, _ = made
    content = json.loads(paths.plan.read_text(encoding="utf-8"))
    change(content)
    paths.plan.write_text(json.dumps(content), encoding="utf-8")
    assert read_plan(paths, config) is None


def test_a_lost_plan_comes_back_from_the_ledger_as_it_was(made: Any, run: Any) -> None:
    config, paths, plan = made
    run(config)
    paths.plan.unlink()
    assert read_plan(paths, config) is None
    assert plan_backfill(config, paths, max_rows=None, created_at="2030-01-01T00:00:00.000Z") == plan
    assert read_plan(paths, config) == plan


def test_a_plan_for_another_database_is_refused(made: Any, store: Any, settings: Any) -> None:
    _, paths, _ = made
    other = settings(store(name="other.db"))
    for attempt in (
        lambda: read_plan(paths, other),
        lambda: plan_backfill(other, paths, max_rows=None, created_at="x"),
    ):
        with pytest.raises(
            StateError, match=r"was planned for the database .*store\.db, the job file now names .*other"
        ):
            attempt()


def test_a_plan_for_other_rules_is_refused(made: Any, store: Any, settings: Any) -> None:
    config, paths, _ = made
    changed = config.model_copy(update={"derivation": config.derivation.model_copy(update={"confidence_width": 0.2})})
    with pytest.raises(StateError, match=r"planned with other tables or another derivation .* Use a new --run-id"):
        read_plan(paths, changed)


def test_a_plan_for_another_run_is_refused(made: Any, paths: Any) -> None:
    config, original, _ = made
    other = paths(config, "run-2")
    other.plan.parent.mkdir()
    other.plan.write_bytes(original.plan.read_bytes())
    with pytest.raises(StateError, match=r"belongs to run run-1\. Use a new --run-id"):
        read_plan(other, config)


@pytest.mark.parametrize(
    ("asked", "words"), [(5, "planned with no --max-rows, this command has --max-rows 5"), (None, None)]
)
def test_a_plan_with_another_budget_is_refused(made: Any, asked: int | None, words: str | None) -> None:
    config, paths, plan = made
    if words is None:
        refuse_other_budget(plan, paths, asked)
        return
    for attempt in (lambda: refuse_other_budget(plan, paths, asked),
                    lambda: plan_backfill(config, paths, max_rows=asked, created_at=CREATED_AT)):  # fmt: skip
        with pytest.raises(StateError, match=words):
            attempt()


def test_a_state_directory_that_is_a_file_is_one_message(store: Any, settings: Any, paths: Any, tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("x", encoding="utf-8")
    config = settings(store(), state_dir="a-file")
    with pytest.raises(StateError, match="a-file"):
        read_plan(paths(config), config)


def test_another_spelling_of_the_same_database_is_the_same_database(made: Any, tmp_path: Path) -> None:
    config, paths, plan = made
    (tmp_path / "link.db").symlink_to(config.database)
    assert read_plan(paths, config.model_copy(update={"database": str(tmp_path / "link.db")})) == plan


FROZEN_EARLIER = {
    "plan_id": "af055de5eab05405f5a723854f7c9161aae3b5541af1a37acc0086b68b53f67c",
    "run_id": "run-1", "created_at": "2026-05-12T01:23:45.000Z", "database": "/data/facts.db",
    "settings_digest": "a" * 64, "schema_fingerprint": "b" * 64, "binding_digest": "c" * 64, "max_rows": 7,
    "stop_reason": "row_budget", "unchanged_outside": 0, "set_aside": 0,
    "chunks": [
        {"chunk": 1, "after": None, "through": "fact-7", "residual": 5},
        {"chunk": 2, "after": "fact-7", "through": "fact-9", "residual": 2},
    ],
    "planning_seconds": 0.5, "reattest": "they asked",
}  # fmt: skip


def test_a_plan_that_an_earlier_version_has_frozen_is_followed_and_spelt_as_it_was() -> None:
    plan = plan_from_json(FROZEN_EARLIER)
    assert plan is not None
    assert list(plan.as_json().items()) == list(FROZEN_EARLIER.items())
