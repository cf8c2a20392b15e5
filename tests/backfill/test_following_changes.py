"""With `derivation.on_change: reattest`, an attested fact that changed is updated once, and the log tells of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import KeyRegistry, entry_for
from tasks.attestation.signer import Signer
from tasks.audit.audit import audit
from tasks.audit.report import AuditOrder
from tasks.backfill.plan_backfill import plan_backfill
from tasks.core.errors import DriftError

ROWS = Signer(key_name="provenance-backfill/sample", seed=bytes(range(100, 132)))
LOG = Signer(key_name="provenance-backfill/sample-log", seed=bytes(range(32, 64)))
REGISTRY = KeyRegistry(
    (
        entry_for(VerifierKey(ROWS.key_name, ROWS.public_key), "rows"),
        entry_for(VerifierKey(LOG.key_name, LOG.public_key), "checkpoints"),
    ),
    "the tests",
)
FOLLOWING = {"derivation": {"on_change": "reattest"}}
OLD, NEW = "https://example.test/old", "https://example.test/new"
FACT = "UPDATE am_entity_facts SET"
MOVED = "2026-06-01T00:00:00.000Z"
CHANGES: dict[str, tuple[str, dict[str, tuple[str | None, str]]]] = {
    "an edited source": (f"{FACT} source_url = '{NEW}' WHERE id = 1", {"1": (NEW, "2026-05-12T01:23:45.000Z")}),
    "a moved time": (f"{FACT} created_at = '2026-06-01' WHERE id = 1", {"1": (OLD, MOVED)}),
    "a source that many share": (
        f"UPDATE am_source SET source_url = '{NEW}' WHERE id = 1",
        {"2": (NEW, "2026-05-12T01:23:45.000Z"), "4": (NEW, "2026-05-12T01:23:45.000Z")},
    ),
    "a source that is gone": (f"{FACT} source_url = ' ' WHERE id = 1", {"1": (None, "2026-05-12T01:23:45.000Z")}),
    "the time of a fact without a source": (f"{FACT} created_at = '2026-06-01' WHERE id = 3", {"3": (None, MOVED)}),
    "a used id": (
        "DELETE FROM am_entity_facts WHERE id = 5; INSERT INTO am_entity_facts (id, entity_id, field_name, field_kind, "
        f"source_url, created_at) VALUES (5, 'houjin:2', 'f', 'text', '{NEW}', '2026-06-01')",
        {"5": (NEW, MOVED)},
    ),
}


@pytest.fixture(params=["signed", "placeholder"])
def with_key(request: Any, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", bytes(range(32, 64)).hex())
    if request.param == "signed":
        monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", bytes(range(100, 132)).hex())
    return bool(request.param == "signed")


@pytest.fixture(params=["id INTEGER PRIMARY KEY", "id TEXT PRIMARY KEY", "id UNIQUE"])
def attested(request: Any, store: Any, settings: Any, run: Any, with_key: bool) -> Any:
    """(store, settings) of five facts that are attested and sealed, one without a time."""
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", request.param))
    made.add_source(1, OLD)
    made.add_source(2, f"{OLD}/2")
    own: dict[str, Any] = {"source_url": OLD}
    linked: dict[str, Any] = {"source_id": 1}
    facts = [own, linked, {}, linked, own]
    made.add_facts({"id": n, "created_at": "2026-05-12 01:23:45", **fact} for n, fact in enumerate(facts, 1))
    made.add_fact(6, source_url=" ", source_id=2, created_at=None)
    config = settings(made, small=True, **FOLLOWING)
    assert run(config, "first")["rows"]["inserted"] == 6
    return made, config


def contents(made: Any) -> dict[str, tuple[str | None, str]]:
    return {fact_id: (row["source_doc"], row["extracted_at"]) for fact_id, row in made.metadata().items()}


def is_clean(config: Any) -> bool:
    last = sorted((Path(config.state_dir) / "checkpoints").rglob("*.checkpoint"))[-1]
    report = audit(config, REGISTRY, AuditOrder(checkpoint=last.read_bytes(), allow_unsigned=True))
    return report.clean


@pytest.mark.parametrize("change", CHANGES)
def test_a_fact_that_changed_is_updated_once_as_a_dry_run_says(attested: Any, run: Any, change: str) -> None:
    made, config = attested
    statements, expected = CHANGES[change]
    before = contents(made)
    for statement in statements.split("; "):
        made.execute(statement)
    predicted = run(config, "second", dry_run=True)
    report = run(config, "second")
    assert report["dry_run"]["matches"] is True
    assert (predicted["stale"]["count"], report["stale"]["count"]) == (len(expected), 0)
    assert report["rows"]["updated"] == len(expected) and report["rows"]["rejected"] == 0
    assert contents(made) == before | expected
    notes = made.rows("SELECT fact_id, notes FROM am_fact_attestation_log WHERE attestation_id > 6 ORDER BY fact_id")
    first = dict(made.rows("SELECT fact_id, attestation_id FROM am_fact_attestation_log WHERE attestation_id <= 6"))
    assert notes == [(key, f'{{"supersedes":{first[key]},"type":"update"}}') for key in sorted(expected)]
    assert is_clean(config)
    log = made.log()
    again = run(config, "third")
    assert (again["rows"]["updated"], again["rows"]["unchanged"], again["chunks"]) == (0, 6, [])
    assert made.log() == log


def test_a_fact_without_a_time_of_its_own_is_not_stale_for_its_time(attested: Any, run: Any) -> None:
    made, config = attested
    made.execute(f"{FACT} source_url = '{NEW}' WHERE id = 1")
    before = contents(made)["6"]
    assert run(config, "second")["rows"]["updated"] == 1
    assert contents(made)["6"] == before


@pytest.mark.parametrize(
    "edit",
    [f"source_doc = '{NEW}'", "extracted_at = '1999-01-01T00:00:00.000Z'", "source_doc = NULL", "extracted_at = 7"],
)
def test_a_row_that_was_tampered_with_is_evidence_all_the_same(attested: Any, run: Any, edit: str) -> None:
    made, config = attested
    made.execute(f"UPDATE am_fact_metadata SET {edit} WHERE fact_id = '1'")
    before = made.rows("SELECT * FROM am_fact_metadata"), made.log()
    run(config, "second", dry_run=True)
    report = run(config, "second")
    assert report["dry_run"]["matches"] is True
    assert (report["rows"]["updated"], report["rejects"]) == (0, {"not_as_logged": 1})
    assert (made.rows("SELECT * FROM am_fact_metadata"), made.log()) == before
    assert not is_clean(config)


def test_a_change_to_what_cannot_be_attested_is_rejected_and_the_row_stays(attested: Any, run: Any) -> None:
    made, config = attested
    made.execute(f"{FACT} created_at = 'yesterday' WHERE id = 1")
    before = contents(made)
    run(config, "second", dry_run=True)
    report = run(config, "second")
    assert (report["dry_run"]["matches"], report["rejects"]) == (True, {"created_at_unparseable": 1})
    assert (contents(made), report["remaining"]) == (before, 1)


def test_a_budget_counts_the_facts_that_changed(attested: Any, run: Any) -> None:
    made, config = attested
    made.execute(f"{FACT} source_url = '{NEW}' WHERE id IN (1, 5)")
    made.execute(f"{FACT} created_at = '2026-05-12T01:23:45.0Z' WHERE id IN (2, 3)")
    days = [run(config, f"day-{day}", max_rows=1) for day in range(3)]
    assert [day["rows"]["updated"] for day in days] == [1, 1, 0]
    assert [day["remaining"] for day in days] == [1, 0, 0]


def test_what_changes_between_the_read_and_the_write_is_read_again(
    attested: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, config = attested
    made.execute(f"{FACT} source_url = '{NEW}' WHERE id = 1")
    seen = list[str]()

    def reach(name: str) -> None:
        if name == "before the write lock" and not seen:
            seen.append(name)
            made.execute("UPDATE am_fact_metadata SET extracted_at = '1999-01-01T00:00:00.000Z' WHERE fact_id = '1'")

    monkeypatch.setattr("tasks.core.crash_points.reach", reach)
    report = run(config, "second")
    assert seen and (report["rows"]["updated"], report["rejects"]) == (0, {"not_as_logged": 1})


def test_a_log_that_cannot_name_what_is_superseded_is_refused(store: Any, settings: Any, paths: Any) -> None:
    made = store(lambda schema: schema.drop_column("am_fact_attestation_log", "notes"))
    made.add_fact(1, source_url=OLD)
    config = settings(made, **FOLLOWING)
    with pytest.raises(DriftError, match="on_change: reattest"):
        plan_backfill(config, paths(config), max_rows=None, created_at="2026-07-01T00:00:00.000Z")


def test_reporting_alone_asks_nothing_of_the_kind_in_any_statement(store: Any, settings: Any, run: Any) -> None:
    from tasks.stores.sqlite.session import open_session

    with open_session(settings(store()), write=False) as session:
        asked = [s["name"] for s in session.gate_json()["statements"] if "fact_is_stale" in s["sql"]]
    assert asked == []
