"""Residual keys to chunks: even ones, at most 500, from the data alone."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.backfill.attempt import run_chunk
from tasks.backfill.plan_backfill import make_plan, plan_backfill
from tasks.core.errors import ParameterError
from tasks.core.values import NotUtf8
from tasks.job.paths import RunPaths
from tasks.runs.cuts import MAX_CHUNKS, Cuts, streamed
from tasks.runs.gate import gate_schema
from tasks.runs.plans import Plan
from tasks.stores.sqlite.session import open_session

CREATED_AT = "2026-11-22T00:00:00.000Z"
UNTYPED = "id UNIQUE"


@pytest.fixture
def plan(settings: Any) -> Any:
    """`plan(store, chunk_rows=10, max_rows=None)` plans a run over a store."""

    def make(store: Any, *, chunk_rows: int = 10, max_rows: int | None = None, created_at: str = CREATED_AT) -> Plan:
        config = settings(store, pacing={"chunk_rows": chunk_rows})
        with open_session(config, write=False) as session:
            return make_plan(session, config, run_id="run-1", max_rows=max_rows, created_at=created_at)

    return make


def ranges(plan: Plan) -> list[tuple[Any, Any, int]]:
    return [(c.after, c.through, c.residual) for c in plan.chunks]


# -- the cuts alone ------------------------------------------------------------------------------------


@given(count=st.integers(0, 40_000), size=st.integers(1, 100))
def test_chunks_are_even_exact_without_gaps_and_never_too_many(count: int, size: int) -> None:
    cuts = Cuts(size)
    cuts.take(streamed(range(count)))
    if not count:
        assert (cuts.count, cuts.last) == (0, None)
        return
    chunks = list(cuts.chunks(-1))
    assert len(chunks) <= MAX_CHUNKS
    assert [c.chunk for c in chunks] == list(range(1, len(chunks) + 1))
    assert [c.after for c in chunks] == [-1, *(c.through for c in chunks[:-1])]
    assert [c.residual for c in chunks] == [c.through - c.after for c in chunks]  # keys are 0, 1, 2, …
    assert chunks[-1].through == count - 1
    assert len({c.residual for c in chunks[:-1]}) <= 1
    assert cuts.size % size == 0
    assert (cuts.size // size).bit_count() == 1  # doubled, and no oftener than needed
    assert cuts.size == size or count >= MAX_CHUNKS * cuts.size // 2


@given(st.lists(st.integers(), unique=True, max_size=30), st.integers(1, 7))
def test_keys_are_taken_in_the_order_they_come(keys: list[int], size: int) -> None:
    cuts = Cuts(size)
    cuts.take(streamed(keys))
    if keys:
        chunks = list(cuts.chunks(None))
        assert [c.through for c in chunks] == [*keys[size - 1 : len(keys) - 1 : size], keys[-1]]


@pytest.mark.parametrize("size", [1, 3])
def test_the_limit_of_five_hundred_holds_just_around_every_doubling(size: int) -> None:
    for full in (250, 499, 500, 501, 999, 1000, 1001, 2000):
        for count in (full * size - 1, full * size, full * size + 1):
            cuts = Cuts(size)
            cuts.take(streamed(range(count)))
            chunks = list(cuts.chunks(None))
            assert len(chunks) <= MAX_CHUNKS, (size, count)
            assert sum(c.residual for c in chunks) == count
            assert all(c.residual > 0 for c in chunks)


def test_half_a_million_chunks_worth_of_keys_are_walked_in_the_memory_of_five_hundred() -> None:
    cuts = Cuts(1)
    cuts.take(streamed(range(500_000)))
    assert len(cuts.bounds) < MAX_CHUNKS
    assert sum(c.residual for c in cuts.chunks(None)) == 500_000


# -- over real stores ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        list(range(1, 26)),
        [n * 1_000_003 for n in range(25)],
        [-(2**63), *range(-12, 11), 2**63 - 1],
        [*range(24), 2**62],
    ],
    ids=["dense", "sparse", "the ends of the range", "one far away"],
)
def test_integer_keys_give_even_chunks_wherever_they_lie(store: Any, plan: Any, keys: list[int]) -> None:
    made = store()
    made.add_facts({"id": key} for key in keys)
    planned = plan(made)
    assert [c.residual for c in planned.chunks] == [10, 10, 5]
    assert [c.through for c in planned.chunks] == [keys[9], keys[19], keys[24]]
    assert planned.chunks[0].after is None
    assert (planned.residual, planned.unchanged_outside, planned.stop_reason) == (25, 0, "complete")


def test_text_keys_give_even_chunks_in_the_order_of_their_bytes(store: Any, plan: Any) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", "id TEXT PRIMARY KEY"))
    keys = ["", " ", "10", "9", "A", "a", "ab", "é", "事実", "🚀", "a\0b"]
    made.add_facts({"id": key} for key in keys)
    ordered = sorted(keys, key=str.encode)
    planned = plan(made, chunk_rows=4)
    assert [c.through for c in planned.chunks] == [ordered[3], ordered[7], ordered[10]]


def test_more_than_five_hundred_chunks_become_larger_ones(store: Any, plan: Any) -> None:
    made = store()
    made.add_facts({"id": key} for key in range(1200))
    planned = plan(made, chunk_rows=1)
    assert len(planned.chunks) <= MAX_CHUNKS
    assert planned.chunks[0].residual in (2, 4)
    assert planned.residual == 1200


def test_only_residual_facts_are_planned_and_all_others_are_counted_outside(store: Any, plan: Any) -> None:
    made = store()
    made.add_facts({"id": key, "source_url": "https://a.test/"} for key in range(30))
    for key in (*range(5), 12, *range(20, 30)):
        made.add_metadata(str(key), "https://a.test/")
    planned = plan(made)
    assert ranges(planned) == [(4, 15, 10), (15, 19, 4)]
    assert planned.unchanged_outside == 15


def test_a_metadata_row_without_a_source_is_residual_only_if_one_can_be_derived(store: Any, plan: Any) -> None:
    made = store()
    made.add_source(1, "https://a.test/")
    made.add_source(2, " ")
    made.add_facts([
        {"id": 1, "source_id": 1}, {"id": 2, "source_url": "https://b.test/"}, {"id": 3}, {"id": 4, "source_url": " "},
        {"id": 5, "source_id": 2}, {"id": 6, "source_id": 99}, {"id": 7, "source_url": "", "source_id": 1},
    ])  # fmt: skip
    for key in range(1, 8):
        made.add_metadata(str(key))
    assert plan(made, chunk_rows=1).residual == 3


def test_a_plan_over_a_converged_store_has_no_chunks(store: Any, settings: Any, run: Any, plan: Any) -> None:
    made = store()
    made.add_facts({"id": key} for key in range(25))
    run(settings(made))
    planned = plan(made)
    assert (planned.chunks, planned.residual, planned.unchanged_outside) == ((), 0, 25)
    assert plan(store(name="empty.db")).chunks == ()


@pytest.mark.parametrize("kind", ["UNIQUE", "TEXT UNIQUE", "INT UNIQUE"])
def test_facts_without_a_key_go_with_the_first_chunk(store: Any, plan: Any, kind: str) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", f"id {kind}"))
    made.add_facts([{"id": None}, *({"id": key} for key in range(12)), {"id": None}])
    planned = plan(made)
    assert [(c.after, c.residual) for c in planned.chunks] == [(None, 12), (planned.chunks[0].through, 2)]
    assert (planned.set_aside, planned.residual) == (2, 14)


def test_a_store_with_nothing_but_facts_without_a_key_has_one_chunk(store: Any, plan: Any) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", UNTYPED))
    made.add_facts([{"id": None}, {"id": None}])
    assert ranges(plan(made)) == [(None, None, 2)]


def test_keys_of_every_storage_class_are_bounds(store: Any, plan: Any) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", UNTYPED))
    made.add_facts([{"id": key} for key in (b"\x00\xff", "text", 1.5, 7)])
    made.execute("INSERT INTO am_entity_facts (id, entity_id, field_name) VALUES (CAST(x'74ff' AS TEXT), 'e', 'f')")
    planned = plan(made, chunk_rows=1)
    assert [c.through for c in planned.chunks] == [1.5, 7, "text", NotUtf8(b"t\xff"), b"\x00\xff"]
    assert planned.residual == 5


# -- the row budget ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("max_rows", "residual", "reason"), [(1, 1, "row_budget"), (7, 7, "row_budget"),
                         (24, 24, "row_budget"), (25, 25, "complete"), (26, 25, "complete")])  # fmt: skip
def test_a_budget_takes_exactly_the_first_residual_rows(
    store: Any, plan: Any, max_rows: int, residual: int, reason: str
) -> None:
    made = store()
    made.add_facts({"id": key} for key in range(25))
    planned = plan(made, max_rows=max_rows)
    assert (planned.residual, planned.stop_reason, planned.max_rows) == (residual, reason, max_rows)
    assert planned.chunks[-1].through == residual - 1


@pytest.mark.parametrize("max_rows", [0, -1])
def test_a_budget_below_one_is_refused(store: Any, plan: Any, max_rows: int) -> None:
    with pytest.raises(ParameterError, match=rf"--max-rows {max_rows}: expected 1 or more\. Nothing was written\."):
        plan(store(), max_rows=max_rows)


@pytest.mark.parametrize("max_rows", [2**63 - 1, 2**63, 10**30])
def test_a_budget_larger_than_any_store_takes_everything_or_is_refused_in_words(
    store: Any, plan: Any, max_rows: int
) -> None:
    made = store()
    made.add_fact(1)
    try:
        assert plan(made, max_rows=max_rows).residual == 1
    except ParameterError as error:
        assert "--max-rows" in str(error)


def test_a_small_budget_moves_forward_every_day_past_facts_that_stay_rejected(
    store: Any, settings: Any, run: Any
) -> None:
    made = store()
    made.add_facts({"id": key, "created_at": "no date" if key % 2 else None} for key in range(1, 13))
    config = settings(made)
    days = [run(config, f"day-{day}", max_rows=3) for day in range(1, 5)]
    assert made.count("am_fact_metadata") == 6
    assert [day["stop_reason"] for day in days] == ["row_budget"] * 3 + ["complete"]
    assert run(config, "day-5", max_rows=3)["rows"]["rejected"] == 0


@pytest.mark.parametrize("max_rows", [1, 2, 3])
def test_a_budget_counts_what_is_written_exactly_even_if_facts_that_stay_rejected_lie_between(
    store: Any, settings: Any, run: Any, max_rows: int
) -> None:
    made = store()
    made.add_facts({"id": key, "created_at": "no date" if key in (2, 4) else None} for key in range(1, 9))
    config = settings(made)
    run(config, "day-1", max_rows=5)
    for table in ("am_fact_metadata", "am_fact_attestation_log"):  # the facts around the rejects are fresh
        made.execute(f"DELETE FROM {table}")
    rows = run(config, "day-2", max_rows=max_rows)["rows"]
    assert rows["inserted"] == max_rows


@pytest.mark.parametrize("keys", [(1e20, "a", "b"), (b"\x00", b"\x01", b"\x02"), (-1.5, 1, 2)])
def test_facts_with_a_key_that_cannot_be_attested_do_not_use_up_the_budget_every_day(
    store: Any, settings: Any, run: Any, keys: tuple[Any, ...]
) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", UNTYPED))
    made.add_facts({"id": key} for key in keys)
    config = settings(made)
    for day in range(3):
        run(config, f"day-{day}", max_rows=1)
    assert made.count("am_fact_metadata") + len(set(made.rejects())) == 3


def test_a_text_key_that_is_not_utf8_does_not_use_up_the_budget_every_day(store: Any, settings: Any, run: Any) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", "id TEXT PRIMARY KEY"))
    made.add_fact("b")
    made.execute("INSERT INTO am_entity_facts (id, entity_id, field_name) VALUES (CAST(x'61ff' AS TEXT), 'e', 'f')")
    config = settings(made)
    for day in range(2):
        run(config, f"day-{day}", max_rows=1)
    assert set(made.metadata()) == {"b"}


def test_a_rejected_fact_that_was_mended_gets_its_turn_in_a_budgeted_run(store: Any, settings: Any, run: Any) -> None:
    made = store()
    made.add_facts([{"id": 1, "created_at": "no date"}, {"id": 2}])
    config = settings(made)
    run(config, "day-1", max_rows=5)
    made.execute("UPDATE am_entity_facts SET created_at = '2026-05-12' WHERE id = 1")
    run(config, "day-2", max_rows=5)
    assert set(made.metadata()) == {"1", "2"}


def test_facts_without_a_key_do_not_use_up_the_budget_every_day(store: Any, settings: Any, run: Any) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", UNTYPED))
    made.add_facts([{"id": None}, {"id": None}, {"id": 1}, {"id": 2}])
    config = settings(made)
    for day in range(3):
        run(config, f"day-{day}", max_rows=1)
    assert set(made.metadata()) == {"1", "2"}
    assert run(config, "whole")["rows"]["rejected"] == 2


# -- whose turn it is ------------------------------------------------------------------------------------


def uuid_like(number: int) -> str:
    """Keys that arrive anywhere among the others."""
    return f"{random.Random(number).getrandbits(64):016x}"


@pytest.mark.parametrize("arrivals", [0, 10, 25])
def test_every_key_gets_its_turn_whatever_arrives(store: Any, settings: Any, run: Any, arrivals: int) -> None:
    """Ten facts a day, and ten or more new ones a day: what was there at first is done after one round."""
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", "id TEXT PRIMARY KEY"))
    first = {uuid_like(n) for n in range(60)}
    made.add_facts({"id": key} for key in first)
    config = settings(made, small=True)
    number, days = 60, 0
    while not first <= set(made.metadata()):
        report = run(config, f"day-{days}", max_rows=10)
        assert report["rows"]["inserted"] == min(10, 60 + arrivals * days - 10 * days)
        made.add_facts({"id": uuid_like(number + n)} for n in range(arrivals))
        number, days = number + arrivals, days + 1
        assert days < 40, "the high keys never get a turn"
    assert len(made.log()) == len(made.metadata()) == 10 * days


def test_a_plan_that_goes_round_has_chunks_in_two_stretches(store: Any, settings: Any, run: Any, plan: Any) -> None:
    made = store()
    made.add_facts({"id": key} for key in range(1, 31))
    config = settings(made, small=True)
    run(config, "day-1", max_rows=25)
    made.add_facts({"id": key} for key in range(-4, 1))
    made.execute("DELETE FROM am_fact_metadata WHERE fact_id IN ('3', '24', '25')")
    made.execute("DELETE FROM am_fact_attestation_log WHERE fact_id IN ('3', '24', '25')")
    planned = plan(made, chunk_rows=4, max_rows=12)
    assert ranges(planned) == [(25, 29, 4), (29, 30, 1), (None, -1, 4), (-1, 24, 3)]
    assert planned.stop_reason == "row_budget"
    report = run(config, "day-2", max_rows=12)
    assert report["rows"] == {"eligible": 34, "inserted": 12, "updated": 0, "unchanged": 22, "rejected": 0}
    assert report["remaining"] == 1
    assert (ranges(plan(made, max_rows=12)), plan(made, max_rows=12).stop_reason) == ([(24, 25, 1)], "complete")


def test_a_turn_begins_where_the_ledger_says_whatever_the_files_say(store: Any, settings: Any, run: Any) -> None:
    made = store()
    made.add_facts({"id": key} for key in range(1, 31))
    run(settings(made), "day-1", max_rows=10)
    run(settings(made), "dry", max_rows=20, dry_run=True)
    made.add_facts({"id": key} for key in range(-9, 1))
    run(settings(made, state_dir="elsewhere"), "day-2", max_rows=10)
    assert sorted(map(int, made.metadata())) == list(range(1, 21))


def test_a_budgeted_run_begins_with_what_an_unfinished_one_left(
    store: Any, settings: Any, plan: Any, created_at: str
) -> None:
    made = store()
    made.add_facts({"id": key} for key in range(1, 31))
    config = settings(made, small=True)
    where = RunPaths(Path(config.state_dir), "day-1", False)
    gate_schema(config, where)
    plan_backfill(config, where, max_rows=25, created_at=created_at)
    for chunk in (1, 3):
        run_chunk(config, where, chunk, progress=lambda _: None)
    made.execute("UPDATE am_backfill_chunk SET state = 'running', cursor = 7 WHERE chunk = 1")
    made.execute("DELETE FROM am_fact_metadata WHERE fact_id BETWEEN '8' AND '9'")
    assert ranges(plan(made, max_rows=4)) == [(7, 12, 4)]


@pytest.mark.parametrize("max_rows", [1, 3, 7, 30])
def test_a_round_of_budgeted_runs_ends_in_a_converged_store(store: Any, settings: Any, run: Any, max_rows: int) -> None:
    made = store()
    made.add_facts({"id": key * 3, "created_at": "no date" if key % 5 == 2 else None} for key in range(-10, 11))
    config = settings(made, small=True)
    reports = [run(config, f"day-{day}", max_rows=max_rows) for day in range(21 // max_rows + 2)]
    assert reports[-1]["stop_reason"] == "complete"
    assert len(made.metadata()) == sum(key % 5 != 2 for key in range(-10, 11))


# -- the digest ----------------------------------------------------------------------------------------


def test_the_same_store_gives_the_same_plan(store: Any, plan: Any) -> None:
    made = store()
    made.add_facts({"id": key} for key in range(25))
    assert plan(made).plan_id == plan(made).plan_id


def test_the_digest_changes_with_the_facts_the_budget_and_the_time(store: Any, plan: Any) -> None:
    made = store()
    made.add_facts({"id": key} for key in range(25))
    ids = [plan(made).plan_id, plan(made, max_rows=5).plan_id, plan(made, chunk_rows=9).plan_id,
           plan(made, created_at="2026-11-23T00:00:00.000Z").plan_id]  # fmt: skip
    made.add_fact(99)
    ids.append(plan(made).plan_id)
    made.execute("CREATE INDEX another ON am_fact_metadata (notes)")
    ids.append(plan(made).plan_id)
    assert len(set(ids)) == 6


def test_planning_writes_nothing(store: Any, plan: Any, dump: Any) -> None:
    made = store()
    made.add_facts({"id": key} for key in range(25))
    before = dump(made.path)
    plan(made)
    plan(made, max_rows=3)
    assert dump(made.path) == before
