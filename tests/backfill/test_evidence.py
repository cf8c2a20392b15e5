"""A fact that the log knows is written only while the store is what the log says of it. All else is left as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.payload import encode
from tasks.attestation.public_keys import KeyRegistry, entry_for
from tasks.attestation.signature_column import signature_hex
from tasks.attestation.signer import Signer
from tasks.audit.audit import audit
from tasks.audit.report import AuditOrder, AuditReport
from tasks.backfill.evidence import reason_to_reattest
from tasks.backfill.plan_backfill import plan_backfill
from tasks.core import crash_points
from tasks.core.errors import DriftError, ParameterError, StateError
from tasks.core.values import Record
from tasks.runs.frozen_plans import read_plan

ROWS = Signer(key_name="provenance-backfill/sample", seed=bytes(range(100, 132)))
LOG = Signer(key_name="provenance-backfill/sample-log", seed=bytes(range(32, 64)))
REGISTRY = KeyRegistry(
    (
        entry_for(VerifierKey(ROWS.key_name, ROWS.public_key), "rows"),
        entry_for(VerifierKey(LOG.key_name, LOG.public_key), "checkpoints"),
    ),
    "the tests",
)
OLD, NEW = "https://example.test/old", "https://example.test/new"
UPDATE, DELETE = "UPDATE am_fact_metadata SET", "DELETE FROM am_fact_metadata WHERE fact_id = '1'"
ATTACKS = {
    "the source is taken away": f"{UPDATE} source_doc = NULL WHERE fact_id = '1'",
    "the row is deleted": DELETE,
    "the signature too": f"{UPDATE} source_doc = NULL, ed25519_sig = zeroblob(64) WHERE fact_id = '1'",
    "another's signature": f"{UPDATE} source_doc = NULL, ed25519_sig = "
    "(SELECT ed25519_sig FROM am_fact_metadata WHERE fact_id = '2') WHERE fact_id = '1'",
    "no signature at all": f"{UPDATE} source_doc = NULL, ed25519_sig = zeroblob(80) WHERE fact_id = '1'",
    "an odd type": f"{UPDATE} source_doc = NULL, extracted_at = 7 WHERE fact_id = '1'",
    "a placeholder logged over it": "INSERT INTO am_fact_attestation_log (fact_id, attester, signature_hex) "
    f"VALUES ('1', 'x', '{'0' * 128}'); {UPDATE} source_doc = NULL, ed25519_sig = zeroblob(64) WHERE fact_id = '1'",
}


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the rows is in the registry of the folder in which the runs are started."""
    (tmp_path / "here" / "config").mkdir(parents=True)
    entries = "".join(key.as_yaml() for key in REGISTRY.keys)
    (tmp_path / "here" / "config" / "keys.yaml").write_text(f"keys:\n{entries}", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def log_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", bytes(range(32, 64)).hex())


def audited(config: Any) -> AuditReport:
    """The audit by the last published checkpoint."""
    last = sorted((Path(config.state_dir) / "checkpoints").rglob("*.checkpoint"))[-1]
    return audit(config, REGISTRY, AuditOrder(checkpoint=last.read_bytes(), allow_unsigned=True))


def reject(made: Any, run_id: str) -> tuple[str, str]:
    """The one reject of a run, with its detail."""
    sql = "SELECT reason, detail FROM am_backfill_reject WHERE run_id = ?"
    [(reason, detail)] = made.rows(sql, run_id)
    return reason, detail


def attested(made: Any) -> tuple[Any, ...]:
    """What may not change: both tables that are attested."""
    return made.rows("SELECT * FROM am_fact_metadata"), made.rows("SELECT * FROM am_fact_attestation_log")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "unsealed"])
@pytest.mark.parametrize("with_key", [True, False], ids=["with the key", "without a key"])
def test_a_run_does_not_bury_what_was_done_to_a_fact_that_was_attested(
    store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch, attack: str, sealed: bool, with_key: bool
) -> None:
    monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", bytes(range(100, 132)).hex())
    if sealed:
        monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", bytes(range(32, 64)).hex())
    made = store()
    made.add_facts([{"id": 1, "source_url": OLD}, {"id": 2, "source_url": OLD}])
    config = settings(made, small=True)
    run(config, "first")
    made.execute("UPDATE am_entity_facts SET source_url = ? WHERE id = 1", NEW)
    made.execute(ATTACKS[attack])
    made.add_fact(3, source_url=NEW)
    if not with_key:
        monkeypatch.delenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY")
    before = attested(made)
    run(config, "second", dry_run=True)
    report = run(config, "second")
    assert report["dry_run"]["matches"] is True
    assert report["rows"] == {"eligible": 3, "inserted": 1, "updated": 0, "unchanged": 1, "rejected": 1}
    assert report["rejects"] == {"not_as_logged": 1}
    made.execute("DELETE FROM am_fact_metadata WHERE fact_id = '3'")
    made.execute("DELETE FROM am_fact_attestation_log WHERE fact_id = '3'")
    assert attested(made) == before, "what was found is evidence and stays"
    if sealed:
        assert not audited(config).clean


def test_the_detail_says_what_was_seen_and_what_was_expected(
    store: Any, settings: Any, run: Any, signing_key: str
) -> None:
    made = store()
    made.add_facts([{"id": 1, "source_url": OLD}])
    config = settings(made)
    run(config, "first")
    made.execute(ATTACKS["the signature too"])
    run(config, "second")
    [(_, _, logged)] = made.log()
    reason, detail = reject(made, "second")
    assert reason == "not_as_logged"
    assert detail.startswith("downgraded: ") and detail.endswith(
        f"ed25519_sig 0000000000000000…, attestation 1 holds {logged[:16]}…"
    )
    made.execute(DELETE)
    run(config, "third")
    assert reject(made, "third")[1] == "it has no metadata row, expected the one that attestation 1 attests"


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "placeholder"])
@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "unsealed"])
def test_an_honest_row_gets_its_source_and_the_log_says_what_it_supersedes(
    store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch, signed: bool, sealed: bool
) -> None:
    if signed:
        monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", bytes(range(100, 132)).hex())
    if sealed:
        monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", bytes(range(32, 64)).hex())
    made = store()
    made.add_facts([{"id": 1, "created_at": "2026-05-12 00:00:00"}, {"id": 2, "source_url": OLD}])
    config = settings(made)
    run(config, "first")
    made.execute("UPDATE am_entity_facts SET source_url = ? WHERE id = 1", NEW)
    made.add_fact(10, source_url=NEW)
    run(config, "second", dry_run=True)
    report = run(config, "second")
    assert report["dry_run"]["matches"] is True
    assert report["rows"] == {"eligible": 3, "inserted": 1, "updated": 1, "unchanged": 1, "rejected": 0}
    assert made.metadata()["1"]["source_doc"] == NEW
    notes = made.rows("SELECT fact_id, notes FROM am_fact_attestation_log ORDER BY attestation_id")
    assert notes == [("1", None), ("2", None), ("10", None), ("1", '{"supersedes":1,"type":"update"}')]
    if sealed:
        assert audited(config).clean


def test_a_row_that_nobody_ever_logged_is_updated_as_before(store: Any, settings: Any, run: Any) -> None:
    made = store()
    made.add_facts([{"id": 1, "source_url": NEW}])
    made.add_metadata("1")
    assert run(settings(made))["rows"]["updated"] == 1
    assert made.rows("SELECT notes FROM am_fact_attestation_log") == [(None,)]


@pytest.mark.usefixtures("log_key")
@pytest.mark.parametrize(
    "edit",
    ["extracted_at = '1999-01-01T00:00:00.000Z'", "verified_by = 'another'", "confidence_lower = 0.1"],
)
def test_a_placeholder_is_held_against_the_digest_that_was_sealed(
    store: Any, settings: Any, run: Any, edit: str
) -> None:
    made = store()
    made.add_facts([{"id": 1, "confidence": 0.5}])
    config = settings(made)
    run(config, "first")
    made.execute(f"{UPDATE} {edit}")
    made.execute("UPDATE am_entity_facts SET source_url = ?", NEW)
    before = attested(made)
    run(config, "second", dry_run=True)
    report = run(config, "second")
    assert (report["rejects"], report["dry_run"]["matches"]) == ({"not_as_logged": 1}, True)
    assert "as sealed with attestation 1" in reject(made, "second")[1]
    assert attested(made) == before


@pytest.mark.usefixtures("log_key")
def test_digests_that_do_not_lead_to_the_signed_root_vouch_for_nothing(store: Any, settings: Any, run: Any) -> None:
    made = store()
    made.add_facts([{"id": 1}])
    config = settings(made)
    run(config, "first")
    made.execute(f"{UPDATE} extracted_at = '1999-01-01T00:00:00.000Z'")
    made.execute("UPDATE am_attestation_tile SET payload_digests = randomblob(32)")
    made.execute("UPDATE am_entity_facts SET source_url = ?", NEW)
    assert run(config, "second", dry_run=True)["rejects"] == {"not_as_logged": 1}


def test_a_signature_by_a_key_that_nobody_knows_cannot_vouch(
    store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = store()
    made.add_facts([{"id": 1}])
    config = settings(made)
    monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", "ab" * 32)
    run(config, "first")
    monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", "cd" * 32)
    made.execute("UPDATE am_entity_facts SET source_url = ?", NEW)
    assert run(config, "second")["rejects"] == {"not_as_logged": 1}
    assert reject(made, "second")[1].startswith("unknown_key: ")


def test_facts_that_stay_not_as_logged_do_not_use_up_the_budget_of_every_day(
    store: Any, settings: Any, run: Any, signing_key: str
) -> None:
    made = store()
    made.add_facts([{"id": key, "source_url": OLD} for key in range(1, 9)])
    config = settings(made, small=True)
    run(config, "first", max_rows=3)
    made.execute("DELETE FROM am_fact_metadata")
    days = [run(config, f"day-{day}", max_rows=3)["rows"] for day in range(5)]
    assert (sum(day["rejected"] for day in days), sum(day["inserted"] for day in days)) == (3, 5)
    assert (days[-1]["rejected"], days[-1]["inserted"]) == (0, 0), "told once, they wait for somebody to look"


Between = Callable[[Any], None]
INTRUSIONS: dict[str, Between] = {
    "a new fact is attested by another": lambda made: made.execute(
        "INSERT INTO am_fact_attestation_log (fact_id, attester, signature_hex) VALUES ('2', 'x', ?)", "0" * 128
    ),
    "the row that is superseded is edited": lambda made: made.execute(
        f"{UPDATE} extracted_at = '1999-01-01T00:00:00.000Z' WHERE fact_id = '1'"
    ),
    "it is attested once more": lambda made: made.execute(
        "INSERT INTO am_fact_attestation_log (fact_id, attester, signature_hex) VALUES ('1', 'x', ?)", "0" * 128
    ),
    "its attestation is deleted": lambda made: made.execute("DELETE FROM am_fact_attestation_log WHERE fact_id = '1'"),
}


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("intrusion", INTRUSIONS)
@pytest.mark.parametrize("with_key", [True, False], ids=["with the key", "without a key"])
def test_what_another_hand_does_between_the_read_and_the_write_is_not_buried_either(
    store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch, intrusion: str, with_key: bool
) -> None:
    monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", bytes(range(100, 132)).hex())
    made = store()
    made.add_facts([{"id": 1}])
    config = settings(made)
    run(config, "first")
    made.execute("UPDATE am_entity_facts SET source_url = ? WHERE id = 1", NEW)
    made.add_fact(2, source_url=NEW)
    if not with_key:
        monkeypatch.delenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY")
    seen = list[str]()

    def reach(name: str) -> None:
        if name == "before the write lock" and not seen:
            seen.append(name)
            INTRUSIONS[intrusion](made)

    monkeypatch.setattr(crash_points, "reach", reach)
    report = run(config, "second")
    assert seen
    of_the_other = 2 if intrusion.startswith("a new fact") else 1
    expected = {"not_as_logged": 1} if "deleted" not in intrusion else {}
    assert report["rejects"] == expected
    if expected:
        assert made.rows("SELECT fact_id FROM am_backfill_reject") == [(str(of_the_other),)]
        assert len(made.rows("SELECT 1 FROM am_fact_attestation_log WHERE fact_id = ?", str(of_the_other))) == (
            2 if "once more" in intrusion else 1
        )


def test_another_writer_who_touches_nothing_of_it_does_not_hold_a_batch_up(
    store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch, signing_key: str
) -> None:
    made = store()
    made.add_facts([{"id": 1}])
    config = settings(made)
    run(config, "first")
    made.execute("UPDATE am_entity_facts SET source_url = ? WHERE id = 1", NEW)
    made.add_fact(2, source_url=NEW)
    reached = list[str]()

    def reach(name: str) -> None:
        reached.append(name)
        if name == "before the write lock":
            made.add_fact(100 + len(reached))

    monkeypatch.setattr(crash_points, "reach", reach)
    rows = run(config, "second")["rows"]
    assert (rows["inserted"], rows["updated"], reached.count("before the write lock")) == (1, 1, 1)


def test_a_log_without_notes_still_takes_the_update(store: Any, settings: Any, run: Any, signing_key: str) -> None:
    made = store(lambda schema: schema.drop_column("am_fact_attestation_log", "notes"))
    made.add_facts([{"id": 1}])
    config = settings(made)
    run(config, "first")
    made.execute("UPDATE am_entity_facts SET source_url = ?", NEW)
    assert run(config, "second")["rows"]["updated"] == 1


def test_a_log_that_is_not_indexed_by_fact_is_refused_with_the_index_it_lacks(
    store: Any, settings: Any, drift: Any
) -> None:
    made = store(lambda schema: schema.drop("ix_am_fact_attestation_log_fact_id"))
    message = drift(settings(made))
    command = message.partition("Create one: ")[2].partition(". Nothing")[0]
    assert message.count("\n") == 0
    made.execute(command)
    with pytest.raises(pytest.fail.Exception):
        drift(settings(made))


def test_a_signature_that_holds_over_other_bytes_of_the_same_row_is_known_by_the_log(
    store: Any, settings: Any, run: Any, signing_key: str
) -> None:
    """Whoever holds the key may sign anything: what was not logged is not vouched for."""
    made = store()
    made.add_facts([{"id": 1, "created_at": "2026-05-12"}])
    config = settings(made)
    run(config, "first")
    record = Record("1", None, "1999-01-01T00:00:00.000Z", None, None)
    blob = ROWS.blob(encode(record, "etl_prov_backfill_v2"))
    made.execute(f"{UPDATE} extracted_at = ?, ed25519_sig = ?", record.extracted_at, blob)
    made.execute("UPDATE am_entity_facts SET source_url = ?", NEW)
    assert run(config, "second")["rejects"] == {"not_as_logged": 1}
    assert signature_hex(blob)[:16] in reject(made, "second")[1] or "unlogged" in reject(made, "second")[1]


def test_the_marker_of_a_dry_run_names_the_reason(
    store: Any, settings: Any, run: Any, paths: Any, signing_key: str
) -> None:
    made = store()
    made.add_facts([{"id": 1, "source_url": OLD}])
    config = settings(made)
    run(config, "first")
    made.execute(DELETE)
    run(config, "second", dry_run=True)
    marker = json.loads(paths(config, "second", dry_run=True).marker(1).read_text(encoding="utf-8"))
    assert marker["rejects"] == {"not_as_logged": 1}


# -- the operator's word -------------------------------------------------------------------------------


@pytest.mark.usefixtures("registered", "log_key")
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_reason_to_reattest_lets_the_run_go_on_and_stays_in_the_log(
    store: Any, settings: Any, run: Any, signing_key: str, attack: str
) -> None:
    made = store()
    made.add_facts([{"id": 1, "source_url": OLD}, {"id": 2, "source_url": OLD}])
    config = settings(made, small=True)
    run(config, "first")
    made.execute(ATTACKS[attack])
    [(latest,)] = made.rows("SELECT max(attestation_id) FROM am_fact_attestation_log WHERE fact_id = '1'")
    reason = 'restored by hand, "法令" included'
    run(config, "second", dry_run=True, because=reason)
    report = run(config, "second", because=reason)
    assert (report["rejects"], report["reattest"], report["dry_run"]["matches"]) == ({}, reason, True)
    assert report["rows"]["inserted"] + report["rows"]["updated"] == 1
    sql = "SELECT notes FROM am_fact_attestation_log WHERE fact_id = '1' ORDER BY attestation_id DESC LIMIT 1"
    written = json.dumps(
        {"because": reason, "supersedes": latest, "type": "reattestation"},
        sort_keys=True, separators=(",", ":"), ensure_ascii=False,
    )  # fmt: skip
    assert made.rows(sql) == [(written,)]
    assert made.metadata()["1"]["source_doc"] == OLD
    assert audited(config).clean


def test_a_plan_with_a_reason_is_another_plan(store: Any, settings: Any, run: Any, paths: Any) -> None:
    made = store()
    made.add_facts([{"id": 1, "source_url": OLD}])
    config = settings(made)
    without = plan_backfill(config, paths(config), max_rows=None, created_at="2026-11-22T00:00:00.000Z")
    with_reason = plan_backfill(config, paths(config, "b"), max_rows=None, created_at=without.created_at, because="so")
    assert without.plan_id != replace(without, reattest="so").plan_id
    assert (with_reason.reattest, read_plan(paths(config, "b"), config)) == ("so", with_reason)
    assert "reattest" not in without.as_json(), "as in every plan that was made before one could ask for it"
    with pytest.raises(StateError, match="was planned with no --reattest, this command has --reattest --because 'so'"):
        plan_backfill(config, paths(config), max_rows=None, created_at=without.created_at, because="so")
    with pytest.raises(StateError, match="use a new --run-id"):
        plan_backfill(config, paths(config, "b"), max_rows=None, created_at=without.created_at, because="other")


def test_a_log_that_cannot_keep_the_reason_refuses_it(store: Any, settings: Any, run: Any, paths: Any) -> None:
    made = store(lambda schema: schema.drop_column("am_fact_attestation_log", "notes"))
    made.add_facts([{"id": 1, "source_url": OLD}])
    config = settings(made)
    with pytest.raises(DriftError, match="ALTER TABLE am_fact_attestation_log ADD COLUMN notes TEXT"):
        plan_backfill(config, paths(config), max_rows=None, created_at="2026-11-22T00:00:00.000Z", because="so")


@pytest.mark.parametrize(
    ("reattest", "because", "message"),
    [
        (True, None, "--reattest: needs --because TEXT beside it"),
        (False, "so", "--because: needs --reattest beside it"),
        (True, " \u3000", "--because: expected a reason"),
        (True, "a\nb", "--because: expected a reason"),
        (True, "a\u202eb", "--because: expected a reason"),
        (True, "x" * 501, "--because: expected a reason"),
    ],
)
def test_a_reason_is_given_with_the_wish_and_says_something(reattest: bool, because: str | None, message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{message}.*Nothing was written"):
        reason_to_reattest(reattest, because)
    assert reason_to_reattest(False, None) is None
    assert reason_to_reattest(True, "x" * 500) == "x" * 500


def test_the_command_line_takes_the_reason_to_every_chunk(
    store: Any, settings: Any, run: Any, luigi: Any, signing_key: str
) -> None:
    made = store()
    made.add_facts([{"id": key, "source_url": OLD} for key in range(1, 25)])
    config = settings(made, small=True)
    run(config, "first")
    made.execute("DELETE FROM am_fact_metadata")
    alone = luigi("Report", "--reattest", "true", settings=config, key=signing_key)
    assert alone.code == 30 and "--reattest: needs --because TEXT beside it" in alone.output
    asked = ("--reattest", "true", "--because", "the table was lost")
    assert luigi("Report", *asked, settings=config, key=signing_key).code == 0
    assert made.count("am_fact_metadata") == 24
    assert luigi("Report", *asked, settings=config, key=signing_key).code == 0, "done is done"
    assert made.count("am_fact_attestation_log") == 48
    other = luigi("Report", settings=config, key=signing_key)
    assert other.code == 30 and "was planned with --reattest" in other.output
    made.execute("DELETE FROM am_fact_metadata")
    assert luigi("PlanChunks", *asked, settings=config, key=signing_key, run_id="run-2").code == 0
    planted = luigi("BackfillChunk", "--chunk", "1", settings=config, key=signing_key, run_id="run-2")
    assert planted.code == 30, "a plan is a file: it does not speak for an operator"
    assert made.count("am_fact_metadata") == 0
