"""Signing what is pending: everything that is what was logged, nothing else, once, whatever dies on the way."""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.payload import encode
from tasks.attestation.public_keys import KeyRegistry, entry_for
from tasks.attestation.signer import Signer
from tasks.audit.audit import audit
from tasks.audit.report import AuditOrder
from tasks.core import crash_points
from tasks.core.errors import DatabaseError, SealError, SigningKeyError, StateError
from tasks.core.values import REFUSED_BY_DATABASE, Record
from tasks.job.paths import checkpoint_folder, sign_paths
from tasks.reporting.signing import close_signing, signing_is_done
from tasks.rows.bar import REFUSALS
from tasks.rows.sign_pending import plan_signing, run_chunk
from tasks.runs.markers import all_chunks_done, chunk_is_done
from tasks.sealed_log.seal import seal_log, seal_run
from tasks.stores.sqlite import runner
from tasks.stores.sqlite.resigning import SqliteResigningSession

FACTS = 25  # three chunks of 10, batches of 4


@pytest.fixture
def sign(sign_with: Any, keys: Any) -> Any:
    """`sign(settings, run_id="run-1")` signs what is pending, without Luigi; gives the content of sign.json."""

    def whole(settings: Any, run_id: str = "run-1", seed: bytes = keys.seed) -> dict[str, Any]:
        sign_with(seed)
        paths = sign_paths(settings.state_dir, run_id)
        plan = plan_signing(settings, paths)
        for chunk in plan.chunks:
            if not chunk_is_done(settings, paths, chunk.chunk):
                run_chunk(settings, paths, chunk.chunk, progress=lambda _: None)
        assert all_chunks_done(settings, plan, paths)
        seal_run(settings, paths)
        close_signing(settings, paths)
        return dict(json.loads(paths.report.read_text(encoding="utf-8")))

    return whole


def check_signed(store: Any, expected: int, keys: Any) -> None:
    """By a verifier and a query that know nothing of the program: each fact signed once, and logged so once."""
    verify_key = SigningKey(keys.seed).verify_key
    log = store.rows("SELECT attestation_id, fact_id, signature_hex, notes FROM am_fact_attestation_log ORDER BY 1")
    signed = [row for row in log if row[2].strip("0")]
    placeholders = {
        fact_id: attestation_id for attestation_id, fact_id, hex_digits, _ in log if not hex_digits.strip("0")
    }
    assert Counter(row[1] for row in signed) == Counter({row[1]: 1 for row in signed})
    assert len(signed) == expected
    rows = store.metadata()
    for attestation_id, fact_id, hex_digits, notes in signed:
        row = rows[fact_id]
        assert row["ed25519_sig"][8:72].hex() == hex_digits
        record = {name: row[name] for name in ("fact_id", "source_doc", "extracted_at", "verified_by",
                                               "confidence_lower", "confidence_upper")}  # fmt: skip
        text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        verify_key.verify(text.encode(), bytes.fromhex(hex_digits))
        assert json.loads(notes) == {"supersedes": placeholders[fact_id], "type": "re-signed"}
        assert placeholders[fact_id] < attestation_id


def test_every_placeholder_is_signed_and_then_valid(attested: Any, sign: Any, verified: Any, keys: Any) -> None:
    store, settings = attested(FACTS, signed=False)
    before = store.metadata()
    report = sign(settings)
    assert report["rows"] == {"pending": FACTS, "signed": FACTS, "refused": 0}
    assert report["remaining"] == 0
    assert report["key_id"] == keys.signer().key_id.hex()
    assert [chunk["pending"] for chunk in report["chunks"]] == [10, 10, 5]
    check_signed(store, FACTS, keys)
    assert verified(settings).counts == {"valid": FACTS}
    for fact_id, row in store.metadata().items():
        changed = {name for name in row if row[name] != before[fact_id][name]}
        assert {"ed25519_sig"} <= changed <= {"ed25519_sig", "updated_at"}


@pytest.mark.parametrize("broken", [False, True])
def test_a_batch_of_long_rows_is_cut_short_and_the_next_one_goes_on(
    broken: bool, attested: Any, sign: Any, keys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, settings = attested(FACTS, signed=False)
    if broken:
        store.execute("UPDATE am_fact_metadata SET source_doc = CAST(x'c328' AS TEXT) WHERE fact_id = '3'")
    monkeypatch.setattr(runner, "_MOST_BATCH_TEXT", 0)
    read, batches = SqliteResigningSession.read_pending, []
    monkeypatch.setattr(
        SqliteResigningSession, "read_pending", lambda *a, **k: batches.append(read(*a, **k)) or batches[-1]
    )
    report = sign(settings)
    assert report["rows"] == {"pending": FACTS, "signed": FACTS - broken, "refused": int(broken)}
    assert {len(batch.rows) for batch in batches} == {0, 1}
    if broken:
        store.execute("UPDATE am_fact_metadata SET source_doc = 'readable again' WHERE fact_id = '3'")
    check_signed(store, FACTS - broken, keys)


def test_the_log_still_shows_when_the_rows_were_unsigned(attested: Any, sign: Any) -> None:
    store, settings = attested(5, signed=False)
    before = store.rows("SELECT * FROM am_fact_attestation_log ORDER BY 1")
    sign(settings)
    after = store.rows("SELECT * FROM am_fact_attestation_log ORDER BY 1")
    assert after[:5] == before
    assert len(after) == 10


def test_signed_rows_are_left_as_they_are(attested: Any, sign: Any, run: Any, dump: Any, keys: Any) -> None:
    store, settings = attested(5)
    before = {table: rows for table, rows in dump(store.path).items() if table.startswith("am_fact")}
    assert sign(settings)["rows"] == {"pending": 0, "signed": 0, "refused": 0}
    assert {table: rows for table, rows in dump(store.path).items() if table.startswith("am_fact")} == before


def test_signing_twice_signs_nothing_twice(attested: Any, sign: Any, keys: Any) -> None:
    store, settings = attested(FACTS, signed=False)
    sign(settings)
    assert sign(settings, "run-2")["rows"]["pending"] == 0
    assert sign(settings)["rows"]["signed"] == FACTS  # the report of the first one, made again
    check_signed(store, FACTS, keys)


def test_without_a_key_nothing_is_planned_or_written(attested: Any, dump: Any) -> None:
    store, settings = attested(3, signed=False)
    before = dump(store.path)
    with pytest.raises(SigningKeyError, match="without a key nothing can be signed"):
        plan_signing(settings, sign_paths(settings.state_dir, "run-1"))
    assert dump(store.path) == before


def test_a_signing_goes_on_with_another_key_and_says_which_signed_what(
    attested: Any, sign: Any, sign_with: Any, keys: Any, verified: Any
) -> None:
    _, settings = attested(FACTS, signed=False)
    paths = sign_paths(settings.state_dir, "run-1")
    sign_with(keys.seed)
    plan_signing(settings, paths)
    run_chunk(settings, paths, 1, progress=lambda _: None)
    report = sign(settings, seed=keys.other_seed)
    first, second = (keys.signer(seed).key_id.hex() for seed in (keys.seed, keys.other_seed))
    assert (report["key_id"], report["key_ids"]) == (second, {first: 10, second: 15})
    assert f"signed with: keys {first} (10 rows), {second} (15 rows)" in paths.report_markdown.read_text()
    assert verified(settings, keys.entry(), keys.entry(keys.other_seed)).counts == {"valid": FACTS}


def test_a_signing_does_not_stand_in_the_way_of_a_backfill_of_the_same_run_id(
    attested: Any, sign: Any, run: Any, verified: Any
) -> None:
    store, settings = attested(5, signed=False)
    sign(settings, "run-2")
    store.add_fact(6, source_url="https://new")
    assert run(settings, "run-2")["rows"]["inserted"] == 1
    assert {row[0] for row in store.rows("SELECT run_id FROM am_backfill_run")} == {
        "run-1", "run-2", "sign-pending:run-2"
    }  # fmt: skip
    assert verified(settings).counts == {"valid": 6}


LOG = "INSERT INTO am_fact_attestation_log (fact_id, attester, signature_hex) VALUES"


def of(fact: int, change: str) -> str:
    return f"UPDATE am_fact_metadata SET {change} WHERE fact_id = '{fact}'"


REFUSED = {
    "malformed": of(7, "source_doc = CAST(x'ff' AS TEXT)"),
    "downgraded": f"{LOG} ('7', 'x', '{'ab' * 64}')",
    "unlogged": "DELETE FROM am_fact_attestation_log WHERE fact_id = '7'",
    "attester_missing": of(7, "verified_by = NULL"),
    "attester_differs": of(7, "verified_by = 'someone'"),
    "changed_after_logging": of(7, "updated_at = '2099-01-01T00:00:00.000Z'"),
    "fact_missing": "DELETE FROM am_entity_facts WHERE id = 7",
    "differs_from_fact": of(7, "source_doc = 'https://elsewhere'"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_row_that_is_not_what_was_logged_is_refused_and_the_rest_goes_on(
    reason: str, attested: Any, sign: Any, keys: Any
) -> None:
    store, settings = attested(FACTS, signed=False)
    store.execute(REFUSED[reason])
    before = store.rows("SELECT * FROM am_fact_metadata WHERE fact_id = '7'") if reason != "malformed" else None
    report = sign(settings)
    assert report["rows"] == {"pending": FACTS, "signed": FACTS - 1, "refused": 1}
    assert report["refused"] == {reason: 1}
    assert report["refused_sample"][0]["fact_id"] == "7"
    assert report["remaining"] == 1
    assert before is None or store.rows("SELECT * FROM am_fact_metadata WHERE fact_id = '7'") == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("source_doc = NULL", "source_doc"),
        ("extracted_at = '2026-05-01T00:00:00.000Z'", "extracted_at"),
        ("confidence_upper = 1.0", "band"),
        ("confidence_lower = NULL", "band"),
    ],
)
def test_every_field_is_compared_with_the_fact_where_the_log_is_not_sealed(
    change: str, field: str, attested: Any, sign: Any
) -> None:
    store, settings = attested(9, signed=False)
    store.execute(of(7, change))
    report = sign(settings)
    assert report["refused"] == {"differs_from_fact": 1}
    assert report["refused_sample"][0]["detail"].startswith(field)


def test_a_row_without_a_band_says_less_than_its_fact_and_is_signed(attested: Any, sign: Any) -> None:
    store, settings = attested(9, signed=False)
    store.execute(of(7, "confidence_lower = NULL, confidence_upper = NULL"))
    assert sign(settings)["refused"] == {}


def test_the_time_is_not_compared_where_the_fact_has_none(store: Any, settings: Any, run: Any, sign: Any) -> None:
    made = store()
    made.add_fact(1, source_url="https://a")
    loaded = settings(made, small=True)
    run(loaded)
    assert sign(loaded)["rows"] == {"pending": 1, "signed": 1, "refused": 0}


@pytest.fixture
def seal(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """`seal(settings)` seals the log with a key that stays configured."""

    def with_key(settings: Any) -> Any:
        monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", bytes(range(32, 64)).hex())
        return seal_log(settings, run_id=None)

    return with_key


@pytest.mark.parametrize("gap", [False, True])
@pytest.mark.parametrize("keyed", [False, True])
def test_what_was_sealed_decides_whatever_the_fact_says_now(
    gap: bool, keyed: bool, attested: Any, sign: Any, seal: Any, verified: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the key for checkpoints, or by the published checkpoint where only another host has the key."""
    store, settings = attested(FACTS, signed=False)
    if gap:
        for factor in (-1, -3):  # by way of ids that no row has
            store.execute(f"UPDATE am_fact_attestation_log SET attestation_id = attestation_id * {factor}")
    assert seal(settings).tree_size == FACTS
    if not keyed:
        monkeypatch.delenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY")
    store.execute("UPDATE am_entity_facts SET source_url = 'https://changed', confidence = 0.1")
    store.execute("UPDATE am_fact_metadata SET updated_at = '2099-01-01T00:00:00.000Z'")
    store.execute(of(7, "source_doc = 'https://changed'"))
    report = sign(settings)
    assert report["refused"] == {"payload_differs": 1}
    assert report["refused_sample"][0]["fact_id"] == "7"
    assert verified(settings).states == {"7": "unsigned"}


def test_a_row_that_was_sealed_without_its_payload_is_refused(attested: Any, sign: Any, seal: Any) -> None:
    store, settings = attested(9, signed=False)
    store.execute(of(7, "ed25519_sig = randomblob(80)"))
    seal(settings)
    store.execute(of(7, "ed25519_sig = zeroblob(64)"))
    assert sign(settings)["refused"] == {"payload_not_sealed": 1}


FORGED = of(7, "source_doc = 'https://forged'")


def forge_digest(store: Any, at: int = 6) -> None:
    """Alter a row, and the digest in the tile with it."""
    store.execute(FORGED)
    row = store.metadata()["7"]
    names = ("confidence_lower", "confidence_upper", "extracted_at", "fact_id", "source_doc", "verified_by")
    payload = json.dumps({name: row[name] for name in names}, separators=(",", ":"), ensure_ascii=False)
    digest = sha256(payload.encode()).hexdigest()
    store.execute(f"UPDATE am_attestation_tile SET payload_digests = CAST(substr(payload_digests, 1, {32 * at}) || "
                  f"x'{digest}' || substr(payload_digests, {32 * at + 33}) AS BLOB)")  # fmt: skip


@pytest.mark.parametrize("change", ["digest", "log row", "row between"])
def test_a_row_whose_seal_does_not_lead_to_the_signed_root_is_refused(
    change: str, attested: Any, sign: Any, seal: Any
) -> None:
    store, settings = attested(FACTS, signed=False)
    if change == "row between":
        store.execute(
            "UPDATE am_fact_attestation_log SET attestation_id = attestation_id + 100 WHERE attestation_id > 6"
        )
    seal(settings)
    if change == "digest":
        forge_digest(store)
    elif change == "log row":
        store.execute("UPDATE am_fact_attestation_log SET notes = 'x' WHERE fact_id = '3'")
    else:
        store.execute("UPDATE am_fact_attestation_log SET attestation_id = 50 WHERE fact_id = '3'")
    report = sign(settings)
    assert report["rows"]["signed"] == 0 and report["refused"] == {"seal_broken": FACTS}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "UPDATE am_attestation_tile SET subtree_roots = CAST(zeroblob(length(subtree_roots)) AS BLOB)",
            "altered them",
        ),
        ("DELETE FROM am_attestation_tile", "altered them"),
        ("UPDATE am_attestation_tile SET first_attestation_id = 3", "at leaf 0: "),
        ("UPDATE am_attestation_checkpoint SET root = zeroblob(32)", "do not belong together"),
        (
            "UPDATE am_attestation_checkpoint SET note = replace(note, 'sample-log', 'other-log')",
            "two different checkpoints",
        ),
        ("DELETE FROM am_attestation_tile; DELETE FROM am_attestation_checkpoint", "was published"),
    ],
)
def test_a_log_that_is_not_what_was_sealed_stops_the_signing_before_it_writes(
    change: str, words: str, attested: Any, sign: Any, seal: Any, dump: Any
) -> None:
    store, settings = attested(9, signed=False)
    seal(settings)
    store.execute(change)
    before = store.rows("SELECT * FROM am_fact_metadata ORDER BY 1")
    with pytest.raises(SealError, match=words):
        sign(settings)
    assert store.rows("SELECT * FROM am_fact_metadata ORDER BY 1") == before


def test_a_seal_that_nobody_here_can_verify_stops_the_signing(
    attested: Any, sign: Any, seal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, settings = attested(9, signed=False)
    seal(settings)
    shutil.rmtree(checkpoint_folder(settings.state_dir, settings.sealing.origin))
    monkeypatch.delenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY")
    with pytest.raises(SealError, match="no known key"):
        sign(settings)


def test_every_refusal_has_its_test() -> None:
    by_the_seal = {"seal_broken", "payload_differs", "payload_not_sealed"}
    assert {*REFUSED, *REVOKED_REFUSED, *by_the_seal, REFUSED_BY_DATABASE} == set(REFUSALS)


METADATA, LOG_TABLE = "am_fact_metadata", "am_fact_attestation_log"
SIGNED_SEVEN = "fact_id = '7' AND length(ed25519_sig) = 80"
OWN_RULES = {
    "CHECK constraint failed": lambda s: s.add(METADATA, f"CHECK (NOT ({SIGNED_SEVEN}))"),
    "UNIQUE constraint failed": lambda s: s.then(
        f"CREATE UNIQUE INDEX ux ON {LOG_TABLE} (iif(fact_id = '7', 0, attestation_id))"
    ),
    "malformed JSON": lambda s: s.add(METADATA, f"doc TEXT AS (json(iif({SIGNED_SEVEN}, '{{', '1'))) STORED"),
    "FOREIGN KEY constraint failed": lambda s: s.change_column(
        LOG_TABLE, "notes", "notes TEXT REFERENCES am_source (source_url) DEFERRABLE INITIALLY DEFERRED"
    ),
}


@pytest.mark.parametrize("words", OWN_RULES)
def test_a_row_that_the_database_refuses_signed_is_refused_in_its_words_and_the_rest_is_signed(
    words: str, attested: Any, sign: Any, keys: Any
) -> None:
    store, settings = attested(FACTS, signed=False, mutate=OWN_RULES[words])
    for number in range(1, FACTS + 1):
        if number != 7:
            store.add_source(number, f'{{"supersedes":{number},"type":"re-signed"}}')
    before = store.metadata()["7"]
    report = sign(settings)
    assert report["rows"] == {"pending": FACTS, "signed": FACTS - 1, "refused": 1}
    assert report["refused"] == {REFUSED_BY_DATABASE: 1}
    [refusal] = report["refused_sample"]
    assert refusal["fact_id"] == "7" and words in refusal["detail"]
    assert (report["remaining"], store.metadata()["7"]) == (1, before)
    check_signed(store, FACTS - 1, keys)


def test_a_fact_that_cannot_be_read_costs_its_own_row_the_signature_and_no_other(
    store: Any, settings: Any, run: Any, sign: Any, keys: Any
) -> None:
    made = store(lambda s: s.drop_column("am_entity_facts", "source_url"))
    made.add_facts({"id": number, "field_value_json": "{}"} for number in range(1, FACTS + 1))
    loaded = settings(made, small=True)
    run(loaded)
    made.execute("UPDATE am_entity_facts SET field_value_json = '{' WHERE id IN (7, 12, 13)")
    computed = "source_url TEXT AS (json_extract(field_value_json, '$.v')) VIRTUAL"
    made.execute(f"ALTER TABLE am_entity_facts ADD COLUMN {computed}")
    report = sign(loaded)
    assert report["rows"] == {"pending": FACTS, "signed": FACTS - 3, "refused": 3}
    assert report["refused"] == {REFUSED_BY_DATABASE: 3}
    assert {(one["fact_id"], one["detail"]) for one in report["refused_sample"]} == {
        (fact_id, "malformed JSON") for fact_id in ("7", "12", "13")
    }
    check_signed(made, FACTS - 3, keys)


def test_a_rule_over_the_ledger_is_the_fault_of_no_row(attested: Any, sign: Any) -> None:
    rule = "CHECK (batch <> 2 OR run_id NOT LIKE 'sign-pending:%')"
    store, settings = attested(FACTS, signed=False, mutate=lambda s: s.add("am_backfill_batch", rule))
    with pytest.raises(DatabaseError, match="CHECK constraint failed") as stopped:
        sign(settings)
    assert type(stopped.value) is DatabaseError
    assert store.rejects() == []


def test_to_find_a_row_that_is_refused_signed_takes_a_logarithm_of_transactions(
    attested: Any, sign: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = {"chunk_rows": 256, "batch_rows": 256}
    _, settings = attested(256, signed=False, mutate=OWN_RULES["CHECK constraint failed"], pacing=many)
    begun = []
    monkeypatch.setattr(crash_points, "reach", begun.append)
    assert sign(settings)["rows"] == {"pending": 256, "signed": 255, "refused": 1}
    assert begun.count("before the write lock") <= 2 * 8 + 4


def test_a_column_notes_that_is_missing_is_done_without(attested: Any, sign: Any, verified: Any) -> None:
    _, settings = attested(
        5, signed=False, mutate=lambda schema: schema.drop_column("am_fact_attestation_log", "notes")
    )
    assert sign(settings)["rows"]["signed"] == 5
    assert verified(settings).counts == {"valid": 5}


def test_text_keys_of_every_kind_are_signed(store: Any, settings: Any, run: Any, sign: Any, verified: Any) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", "id TEXT PRIMARY KEY"))
    keys = ["", "0012", "12", "-5", "事実-7", "z" * 300, "1e5", *(f"k{n:03d}" for n in range(20))]
    made.add_facts({"id": key, "source_url": "https://a", "created_at": "2026-05-01"} for key in keys)
    loaded = settings(made, small=True)
    run(loaded)
    assert sign(loaded)["rows"]["signed"] == len(keys)
    assert verified(loaded).counts == {"valid": len(keys)}


def test_an_integer_goes_before_a_text_key_that_reads_the_same(
    store: Any, settings: Any, run: Any, sign: Any, verified: Any
) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", "id PRIMARY KEY"))
    made.add_facts([{"id": 7, "source_url": "https://int"}, {"id": "8", "source_url": "https://text"}])
    loaded = settings(made, small=True)
    run(loaded)
    assert sign(loaded)["rows"] == {"pending": 2, "signed": 2, "refused": 0}
    assert verified(loaded).counts == {"valid": 2}


# -- what a revoked key signed -----------------------------------------------------------------------


@pytest.fixture
def revoke(tmp_path: Path, keys: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, Any]]:
    """`revoke()` has the registry of this folder say that the tests' key is revoked; gives its entries."""
    (tmp_path / "here" / "config").mkdir(parents=True)

    def write(**changes: Any) -> tuple[Any, Any]:
        monkeypatch.chdir(tmp_path / "here")
        entries = keys.entry(state="revoked", **changes), keys.entry(keys.other_seed)
        text = "keys:\n" + "".join(entry.as_yaml() for entry in entries)
        Path("config/keys.yaml").write_text(text, encoding="utf-8")
        return entries

    return write


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("changes", [{}, {"revoked_at_leaf": 5}])
def test_what_a_revoked_key_signed_is_signed_again_and_then_valid(
    changes: dict[str, int], sealed: bool, attested: Any, sign: Any, seal: Any, revoke: Any, verified: Any, keys: Any
) -> None:
    store, settings = attested(FACTS)
    if sealed:
        seal(settings)
    before = store.metadata()
    entries = revoke(**changes)
    assert verified(settings, *entries).counts["revoked"] == FACTS - changes.get("revoked_at_leaf", 0)
    report = sign(settings, seed=keys.other_seed)
    assert report["rows"] == {"pending": FACTS, "signed": FACTS, "refused": 0} and report["remaining"] == 0
    assert report["key_ids"] == {keys.signer(keys.other_seed).key_id.hex(): FACTS}
    assert verified(settings, *entries).counts == {"valid": FACTS}
    notes = store.rows("SELECT json_extract(notes, '$.supersedes'), json_extract(notes, '$.type') "
                       "FROM am_fact_attestation_log WHERE notes IS NOT NULL ORDER BY 1")  # fmt: skip
    assert notes == [(attestation_id, "re-signed") for attestation_id in range(1, FACTS + 1)]
    for fact_id, row in store.metadata().items():
        changed = {name for name in row if row[name] != before[fact_id][name]}
        assert {"ed25519_sig"} <= changed <= {"ed25519_sig", "updated_at"}
    assert sign(settings, "run-2", seed=keys.other_seed)["rows"]["pending"] == 0


def test_an_audit_finds_nothing_after_what_a_revoked_key_signed_was_signed_again(
    attested: Any, sign: Any, seal: Any, revoke: Any, keys: Any
) -> None:
    _, settings = attested(FACTS)
    seal(settings)
    entries = revoke()
    sign(settings, seed=keys.other_seed)
    log_key = Signer(key_name=settings.sealing.key_name, seed=bytes(range(32, 64)))
    known = entry_for(VerifierKey(log_key.key_name, log_key.public_key), "checkpoints")
    last = sorted((Path(settings.state_dir) / "checkpoints").rglob("*.checkpoint"))[-1]
    report = audit(settings, KeyRegistry((*entries, known)), AuditOrder(checkpoint=last.read_bytes()))
    assert report.clean and report.leaves == 2 * FACTS, report.findings


@pytest.mark.parametrize("entry", [{}, {"state": "superseded", "until_leaf": 1000}])
def test_what_another_key_signed_is_not_pending(
    entry: dict[str, Any], attested: Any, sign: Any, revoke: Any, keys: Any
) -> None:
    _, settings = attested(9)
    revoke()
    others = keys.entry(**entry), keys.entry(bytes(range(32)), state="revoked")
    Path("config/keys.yaml").write_text("keys:\n" + "".join(one.as_yaml() for one in others), encoding="utf-8")
    assert sign(settings, seed=keys.other_seed)["rows"]["pending"] == 0


REVOKED_REFUSED = {
    "malformed": of(7, "source_doc = CAST(x'ff' AS TEXT)"),
    "unlogged": "DELETE FROM am_fact_attestation_log WHERE fact_id = '7'",
    "invalid": of(7, "source_doc = 'https://elsewhere'"),
    "changed_after_logging": of(7, "updated_at = '2099-01-01T00:00:00.000Z'"),
    "attester_differs": "UPDATE am_fact_attestation_log SET attester = 'someone' WHERE fact_id = '7'",
    "fact_missing": "DELETE FROM am_entity_facts WHERE id = 7",
    "differs_from_fact": "UPDATE am_entity_facts SET source_url = 'https://elsewhere' WHERE id = 7",
}


@pytest.mark.parametrize("reason", REVOKED_REFUSED)
def test_a_row_of_a_revoked_key_that_is_not_what_was_logged_is_refused_and_the_rest_goes_on(
    reason: str, attested: Any, sign: Any, revoke: Any, keys: Any
) -> None:
    store, settings = attested(FACTS)
    revoke()
    store.execute(REVOKED_REFUSED[reason])
    report = sign(settings, seed=keys.other_seed)
    assert report["refused"] == {reason: 1} and report["rows"]["signed"] == FACTS - 1
    assert report["remaining"] == 1
    [(blob,)] = store.rows("SELECT ed25519_sig FROM am_fact_metadata WHERE fact_id = '7'")
    assert blob[72:] == keys.signer().key_id


@pytest.mark.parametrize("sealed", [True, False])
def test_what_the_holder_of_a_revoked_key_forged_is_not_signed_again(
    sealed: bool, attested: Any, sign: Any, seal: Any, revoke: Any, keys: Any
) -> None:
    """The signature holds and the log says so: only the seal, or the fact, knows better."""
    store, settings = attested(FACTS)
    if sealed:
        seal(settings)
    revoke()
    row = store.metadata()["7"] | {"source_doc": "https://forged"}
    record = Record(*(row[name] for name in ("fact_id", "source_doc", "extracted_at", "confidence_lower",
                                             "confidence_upper")))  # fmt: skip
    blob = keys.signer().blob(encode(record, row["verified_by"]))
    store.execute("UPDATE am_fact_metadata SET source_doc = ?, ed25519_sig = ? WHERE fact_id = '7'",
                  record.source_doc, blob)  # fmt: skip
    if sealed:
        store.execute(f"{LOG} ('7', 'etl_prov_backfill_v2', ?)", blob[8:72].hex())
    else:
        store.execute("UPDATE am_fact_attestation_log SET signature_hex = ? WHERE fact_id = '7'", blob[8:72].hex())
    report = sign(settings, seed=keys.other_seed)
    assert report["refused"] == {"differs_from_fact": 1}


def test_a_signature_of_a_revoked_key_that_is_gone_when_the_row_is_written_is_not_signed_over(
    attested: Any, sign: Any, revoke: Any, keys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, settings = attested(4)
    revoke()
    done = []

    def meddle(name: str) -> None:
        if name == "before the write lock" and not done:
            done.append(name)
            store.execute(of(2, "ed25519_sig = zeroblob(64)"))

    monkeypatch.setattr(crash_points, "reach", meddle)
    report = sign(settings, seed=keys.other_seed)
    assert report["refused"] == {"downgraded": 1} and report["rows"]["signed"] == 3


# -- whatever happens on the way ---------------------------------------------------------------------

POINTS = [
    (point, nth)
    for point in ("before the write lock", "before commit", "after commit")
    for nth in (1, 4, 7)
] + [
    (point, nth)
    for point in ("after the last commit, before the marker", "while a file is written", "before the rename of a file")
    for nth in (1, 3)
]  # fmt: skip


@pytest.mark.parametrize(("point", "nth"), POINTS)
def test_killed_anywhere_the_same_command_ends_it(
    point: str, nth: int, attested: Any, sign: Any, dies_at: Any, verified: Any, keys: Any
) -> None:
    store, settings = attested(FACTS, signed=False)
    store.execute(REFUSED["attester_differs"])
    dies_at(point, nth, lambda: sign(settings))
    report = sign(settings)
    assert report["rows"] == {"pending": FACTS, "signed": FACTS - 1, "refused": 1}
    check_signed(store, FACTS - 1, keys)
    assert verified(settings).counts == {"valid": FACTS - 1, "unsigned": 1}
    assert [row[1] for row in store.rejects()] == ["attester_differs"]
    sums = store.rows("SELECT sum(eligible), sum(updated), sum(signed), sum(rejected) FROM am_backfill_chunk "
                      "WHERE run_id = 'sign-pending:run-1'")  # fmt: skip
    assert sums == [(FACTS, FACTS - 1, FACTS - 1, 1)]


@pytest.mark.parametrize(
    ("change", "signed"),
    [
        (of(2, "source_doc = 'https://meanwhile'"), 3),
        (of(2, "confidence_upper = NULL, confidence_lower = NULL"), 4),
        (of(2, "extracted_at = '2026-01-01T00:00:00.000Z'"), 3),
        (of(2, "verified_by = 'meanwhile'"), 3),
        (of(2, "ed25519_sig = randomblob(80)"), 3),
        (f"{LOG} ('2', 'etl_prov_backfill_v2', '{'0' * 128}')", 4),
        (f"{LOG} ('2', 'etl_prov_backfill_v2', '{'ab' * 64}')", 3),
        ("DELETE FROM am_fact_metadata WHERE fact_id = '2'", 3),
    ],
)
def test_a_row_that_moves_between_reading_and_writing_is_read_again(
    change: str, signed: int, attested: Any, sign: Any, monkeypatch: pytest.MonkeyPatch, verified: Any
) -> None:
    """The change comes after the batch was read and signed: a signature over the old fields must not be written."""
    store, settings = attested(4, signed=False)
    done = []

    def meddle(name: str) -> None:
        if name == "before the write lock" and not done:
            done.append(name)
            store.execute(change)

    monkeypatch.setattr(crash_points, "reach", meddle)
    report = sign(settings)
    assert done
    assert report["rows"]["signed"] == signed
    states = verified(settings).states
    assert set(states) <= {"2"}, states
    if signed == 4:
        assert not states


def test_a_ledger_that_another_worker_advanced_makes_the_batch_stale(
    attested: Any, sign: Any, monkeypatch: pytest.MonkeyPatch, keys: Any, sign_with: Any
) -> None:
    """A second worker does the whole chunk while the first stands before its first write."""
    store, settings = attested(10, signed=False)
    paths = sign_paths(settings.state_dir, "run-1")
    sign_with(keys.seed)
    plan_signing(settings, paths)
    nested = []

    def second_worker(name: str) -> None:
        if name == "before the write lock" and not nested:
            nested.append(name)
            thread = threading.Thread(target=run_chunk, args=(settings, paths, 1), kwargs={"progress": lambda _: None})
            thread.start()
            thread.join()

    monkeypatch.setattr(crash_points, "reach", second_worker)
    run_chunk(settings, paths, 1, progress=lambda _: None)
    assert sign(settings)["rows"] == {"pending": 10, "signed": 10, "refused": 0}
    check_signed(store, 10, keys)


def test_a_lost_state_folder_comes_back_from_the_ledger(
    attested: Any, sign: Any, sign_with: Any, keys: Any, tmp_path: Any
) -> None:
    store, settings = attested(FACTS, signed=False)
    paths = sign_paths(settings.state_dir, "run-1")
    sign_with(keys.seed)
    plan = plan_signing(settings, paths)
    run_chunk(settings, paths, 2, progress=lambda _: None)
    shutil.rmtree(paths.run)
    assert plan_signing(settings, paths) == plan
    assert sign(settings)["rows"]["signed"] == FACTS
    check_signed(store, FACTS, keys)


def test_a_database_that_was_restored_from_before_is_not_called_signed(attested: Any, sign: Any) -> None:
    store, settings = attested(FACTS, signed=False)
    paths = sign_paths(settings.state_dir, "run-1")
    before = store.path.read_bytes()
    sign(settings)
    assert signing_is_done(settings, paths)
    store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.path.write_bytes(before)
    assert not signing_is_done(settings, paths)
    with pytest.raises(StateError, match="the ledger of the database does not know it"):
        close_signing(settings, paths)
