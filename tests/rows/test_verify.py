"""Verification of a whole store: every row to one state, whatever was done to it, in bounded memory."""

from __future__ import annotations

import json
import random
import tracemalloc
from typing import Any

import apsw
import pytest

from tasks.attestation.row_states import STATES
from tasks.core.errors import DatabaseError, DriftError
from tasks.reporting.verification import LISTED, to_json_parts, to_markdown, to_terminal
from tasks.rows.verify import chunk_sizes
from tasks.stores.sqlite.attestations import open_attestations


def test_a_store_that_was_signed_is_valid_throughout(attested: Any, verified: Any) -> None:
    _, settings = attested(25)
    found = verified(settings)
    assert found.counts == {"valid": 25}
    assert found.report.passed


def test_a_store_that_was_never_signed_is_unsigned_throughout(attested: Any, verified: Any) -> None:
    _, settings = attested(9, signed=False)
    found = verified(settings)
    assert found.counts == {"unsigned": 9}
    assert not found.report.passed
    allowed = verified(settings, allow_unsigned=True)
    assert allowed.report.passed
    assert allowed.counts == {"unsigned": 9}


def test_allowing_the_unsigned_allows_nothing_else(attested: Any, verified: Any) -> None:
    store, settings = attested(9)
    store.execute("UPDATE am_fact_metadata SET ed25519_sig = zeroblob(64) WHERE fact_id = '3'")
    assert not verified(settings, allow_unsigned=True).report.passed


def test_an_empty_store_passes_with_no_row(attested: Any, verified: Any) -> None:
    _, settings = attested(0)
    found = verified(settings)
    assert (found.report.rows, found.report.passed, found.counts) == (0, True, {})


def of(fact: int, change: str) -> str:
    return f"UPDATE am_fact_metadata SET {change} WHERE fact_id = '{fact}'"


LOG = "INSERT INTO am_fact_attestation_log (fact_id, attester, signature_hex) VALUES"
TAMPERED = {
    "unknown_key": [of(7, "ed25519_sig = CAST(substr(ed25519_sig, 1, 72) || x'0011223344556677' AS BLOB)")],
    "malformed": [of(7, "ed25519_sig = substr(ed25519_sig, 9, 64)")],
    "invalid": [of(7, "source_doc = source_doc || '?'")],
    "downgraded": [of(7, "ed25519_sig = zeroblob(64)")],
    "unlogged": [f"{LOG} ('7', 'x', '{'ab' * 64}')"],
}  # fmt: skip


@pytest.mark.parametrize("state", TAMPERED)
def test_each_tampering_gives_its_state_and_spares_the_other_rows(state: str, attested: Any, verified: Any) -> None:
    store, settings = attested(12)
    for sql in TAMPERED[state]:
        store.execute(sql)
    assert verified(settings).states == {"7": state}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("source_doc = CAST(x'ff' AS TEXT)", "source_doc: not UTF-8"),
        ("verified_by = x'00'", "verified_by: a BLOB"),
        ("fact_id = CAST(x'fe' AS TEXT)", "fact_id: not UTF-8"),
        ("fact_id = x'31'", "fact_id: a BLOB"),
        ("fact_id = NULL", "fact_id: NULL"),
        ("extracted_at = x'00'", "extracted_at: a BLOB"),
    ],
)
def test_values_of_other_types_are_malformed_and_break_nothing(
    change: str, field: str, attested: Any, verified: Any
) -> None:
    store, settings = attested(12)
    store.execute(of(7, change))
    found = verified(settings)
    assert found.counts == {"valid": 11, "malformed": 1}
    ((state, detail),) = found.facts.values()
    assert state == "malformed"
    assert field in detail


def test_all_rows_without_a_key_are_counted(attested: Any, verified: Any) -> None:
    store, settings = attested(3)
    for _ in range(5):
        store.add_metadata(None)
    assert verified(settings).counts == {"valid": 3, "malformed": 5}


def test_rows_of_a_key_that_was_lost_to_the_registry_are_unknown(attested: Any, verified: Any, keys: Any) -> None:
    _, settings = attested(5)
    assert verified(settings, keys.entry(keys.other_seed)).counts == {"unknown_key": 5}
    assert verified(settings, keys.entry(use="checkpoints")).counts == {"unknown_key": 5}


def test_leaves_that_are_not_sealed_count_in_the_order_of_the_log(attested: Any, verified: Any, keys: Any) -> None:
    store, settings = attested(12)
    store.execute("INSERT INTO am_fact_attestation_log (attestation_id, fact_id, attester, signature_hex) "
                  f"VALUES (1000, 'gone', 'x', '{'0' * 128}')")  # fmt: skip
    ids = [row[0] for row in store.rows("SELECT attestation_id FROM am_fact_attestation_log ORDER BY 1")]
    found = verified(settings, keys.entry(state="superseded", from_leaf=2, until_leaf=8))
    revoked = {row[0] for row in store.rows(
        f"SELECT fact_id FROM am_fact_attestation_log WHERE attestation_id NOT BETWEEN {ids[2]} AND {ids[8]}"
    )} - {"gone"}  # fmt: skip
    assert found.states == dict.fromkeys(revoked, "revoked")
    assert len(revoked) == 5


def test_leaves_that_are_sealed_are_taken_from_their_tiles(attested: Any, verified: Any, keys: Any) -> None:
    """Ids 1 to 12 are leaves 0 to 11; the first tile has a gap, the second none."""
    store, settings = attested(12)
    packed = b"".join(one.to_bytes(8, "little", signed=True) for one in (-4, 2, 3, 5))
    store.execute(f"INSERT INTO am_attestation_tile VALUES (0, 4, -4, 5, {tile(1, 4)[0]}, ?, {tile(1, 4)[1]}), "
                  f"(4, 3, 6, 8, {tile(2, 3)[0]}, NULL, {tile(2, 3)[1]})", packed)  # fmt: skip
    with open_attestations(settings) as reader:
        found = [reader.first_id_of_leaf(leaf) for leaf in range(13)]
    assert found == [-4, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, None, None]


def tile(roots: int, leaves: int) -> tuple[str, str]:
    """Columns of a tile that nobody looks into here: the roots, then marks and digests."""
    return f"zeroblob({32 * roots})", f"zeroblob({8 * leaves}), zeroblob({32 * leaves})"


def test_where_the_tiles_make_no_log_a_key_of_some_leaves_counts_in_none(
    attested: Any, verified: Any, keys: Any
) -> None:
    store, settings = attested(12)
    roots, rest = tile(2, 3)
    store.execute(f"INSERT INTO am_attestation_tile VALUES (4, 3, 6, 8, {roots}, NULL, {rest})")
    assert verified(settings).counts == {"valid": 12}
    for part in (
        {"state": "superseded", "until_leaf": 8},
        {"from_leaf": 1},
        {"state": "revoked", "revoked_at_leaf": 9},
    ):
        assert verified(settings, keys.entry(**part)).counts == {"revoked": 12}


def test_a_store_that_was_never_sealed_needs_no_tables_of_the_seal(attested: Any, verified: Any) -> None:
    store, settings = attested(4)
    store.execute("DROP TABLE am_attestation_tile")
    store.execute("DROP TABLE am_attestation_checkpoint")
    for table in ("am_entity_facts", "am_source", "am_backfill_run", "am_backfill_chunk", "am_backfill_reject"):
        store.execute(f"DROP TABLE {table}")
    assert verified(settings).counts == {"valid": 4}


def test_metadata_without_its_log_is_refused_by_name(attested: Any, verified: Any) -> None:
    store, settings = attested(4)
    store.execute("DROP VIEW v_am_fact_explainability")
    store.execute("DROP VIEW v_am_fact_attestation_latest")
    store.execute("DROP TABLE am_fact_attestation_log")
    with pytest.raises(DriftError, match="am_fact_attestation_log: no such table"):
        verified(settings)


def test_a_log_without_its_index_is_refused_instead_of_read_for_ever(attested: Any, verified: Any) -> None:
    store, settings = attested(4)
    store.execute("DROP INDEX ix_am_fact_attestation_log_fact_id")
    with pytest.raises(DriftError, match="would scan am_fact_attestation_log"):
        verified(settings)


def test_the_reader_cannot_write(attested: Any) -> None:
    _, settings = attested(1)
    with open_attestations(settings) as reader:
        for sql in ("DELETE FROM am_fact_metadata", "UPDATE am_fact_metadata SET notes = 1", "DROP TABLE am_source"):
            with pytest.raises((apsw.AuthError, apsw.ReadOnlyError)):
                reader._connection.execute(sql)


def test_a_batch_is_read_by_the_plan_that_the_gate_looked_at(attested: Any) -> None:
    """Whenever SQLite compiles a statement, it asks the authorizer: once, whatever bounds are given."""
    _, settings = attested(25)
    asked: list[Any] = []
    with open_attestations(settings) as reader:
        reader._connection.authorizer = lambda *what: asked.append(what) or apsw.SQLITE_OK
        for after in ("1", "2", "3"):
            asked.clear()
            assert reader.read_rows(after=after, through="9", limit=5).rows
            assert bool(asked) == (after == "1")


def test_verification_changes_no_row(attested: Any, verified: Any, dump: Any) -> None:
    store, settings = attested(25)
    before = dump(store.path)
    verified(settings)
    assert dump(store.path) == before


def test_two_processes_find_what_one_finds(attested: Any, verified: Any) -> None:
    store, settings = attested(40)
    store.execute("UPDATE am_fact_metadata SET source_doc = 'x' WHERE CAST(fact_id AS INTEGER) % 5 = 0")
    one, two = verified(settings), verified(settings, workers=2)
    assert one.facts == two.facts
    assert one.report.states == two.report.states
    assert len(one.report.chunks) > 2


def test_a_worker_that_dies_leaves_no_verdict(attested: Any, verified: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, settings = attested(40)
    monkeypatch.setattr("tasks.rows.verify.verify_chunk", lambda *_, **__: __import__("os")._exit(9))
    with pytest.raises(DatabaseError, match="a worker process died"):
        verified(settings, workers=2)


@pytest.mark.parametrize("rows", [0, 1, 39, 40, 1_000_000, 6_120_000])
@pytest.mark.parametrize("workers", [1, 2, 16])
def test_chunks_take_all_rows_and_none_more_than_the_job_file_allows(rows: int, workers: int) -> None:
    sizes = chunk_sizes(rows, most=100_000, workers=workers)
    assert sum(sizes) == rows
    assert all(0 < size <= 100_000 for size in sizes)


def test_no_worker_is_left_alone_with_more_than_a_small_part_of_the_rows() -> None:
    """Whatever the others did meanwhile, the last chunks are short; with one worker there is nobody to wait."""
    sizes = chunk_sizes(1_000_000, most=100_000, workers=2)
    assert max(sizes[-4:]) < 2_000
    assert len(sizes) < 50
    assert chunk_sizes(1_000_000, most=100_000, workers=1) == [100_000] * 10


def test_chunks_cover_every_row_once_whatever_the_keys_are(store: Any, settings: Any, verified: Any) -> None:
    """Text keys, sparse ones, one that is not UTF-8, BLOBs and NULLs; none of them logged."""
    made = store()
    odd: list[Any] = ["", "0012", "12", "-5", "事実-7", "z" * 300, b"\x00", b"\xff" * 40, None, None]
    rng = random.Random(5)
    for key in [*odd, *{str(rng.randrange(10**12)) for _ in range(60)}]:
        made.add_metadata(key)
    made.add_metadata("to be spoilt")
    made.execute("UPDATE am_fact_metadata SET fact_id = CAST(x'c328' AS TEXT) WHERE fact_id = 'to be spoilt'")
    found = verified(settings(made, small=True))
    assert found.report.rows == made.count("am_fact_metadata")
    assert sum(chunk["rows"] for chunk in found.report.chunks) == found.report.rows
    assert found.counts == {"malformed": 5, "unlogged": found.report.rows - 5}


def test_random_tampering_always_gives_the_right_states(attested: Any, verified: Any) -> None:
    """What was done to a row is known, so its state is; a row that nobody touched is valid."""
    store, settings = attested(150)
    for seed in range(12):
        rng, expected = random.Random(seed), {}
        rows = {row["fact_id"]: row for row in store.metadata().values()}
        chosen = rng.sample(sorted(rows), 30)
        for fact_id in chosen:
            expected[fact_id] = tamper(store, rng, rows[fact_id], rows[rng.choice(sorted(set(rows) - {fact_id}))])
        found = verified(settings)
        assert found.states == {fact_id: state for fact_id, state in expected.items() if state != "valid"}, seed
        for fact_id in chosen:  # as it was; what the log got stays, so the signature goes there again
            put_back(store, rows[fact_id])


def tamper(store: Any, rng: random.Random, row: dict[str, Any], other: dict[str, Any]) -> str:
    """One change to one row, and the state that it must give."""
    blob = row["ed25519_sig"]
    at = rng.randrange(80)
    flipped = blob[:at] + bytes([blob[at] ^ 1 << rng.randrange(8)]) + blob[at + 1 :]
    choices: list[tuple[dict[str, Any], str]] = [
        ({"ed25519_sig": bytes(64)}, "downgraded"),
        ({"ed25519_sig": flipped}, "malformed" if at < 8 else "unlogged" if at < 72 else "unknown_key"),
        ({"ed25519_sig": blob[: rng.randrange(65, 80)]}, "malformed"),
        ({"ed25519_sig": other["ed25519_sig"]}, "unlogged"),
        ({"source_doc": other["source_doc"] + "x"}, "invalid"),
        ({"extracted_at": "2000-01-01T00:00:00.000Z"}, "invalid"),
        ({"verified_by": "me"}, "invalid"),
        ({"confidence_lower": None}, "invalid"),
        ({"confidence_upper": 1.0, "confidence_lower": 1.0}, "invalid"),
        ({"notes": "not signed"}, "valid"),
    ]
    changes, state = rng.choice(choices)
    if changes.get("confidence_lower", 0) is None and row["confidence_lower"] is None:
        state = "valid"
    sets = ", ".join(f"{name} = ?" for name in changes)
    store.execute(f"UPDATE am_fact_metadata SET {sets} WHERE fact_id = ?", *changes.values(), row["fact_id"])
    return state


def put_back(store: Any, row: dict[str, Any]) -> None:
    names = [name for name in row if name != "fact_id"]
    sets = ", ".join(f"{name} = ?" for name in names)
    values = (*(row[name] for name in names), row["fact_id"])
    store.execute(f"UPDATE am_fact_metadata SET {sets} WHERE fact_id = ?", *values)


def test_a_row_that_was_replayed_from_before_its_update_is_unlogged_and_said_so(
    attested: Any, verified: Any, run: Any
) -> None:
    store, settings = attested(0)
    store.add_fact(1, source_url=None)
    run(settings, "run-2")
    old = store.metadata()["1"]
    store.execute("UPDATE am_entity_facts SET source_url = 'https://found' WHERE id = 1")
    assert run(settings, "run-3")["rows"]["updated"] == 1
    assert verified(settings).counts == {"valid": 1}
    put_back(store, old)
    assert verified(settings).facts["1"] == (
        "unlogged", "replayed: log row 1 holds this signature, but 2 is the latest"
    )  # fmt: skip


def test_people_see_some_of_each_state_and_programs_see_all(attested: Any, verified: Any) -> None:
    store, settings = attested(60)
    store.execute("UPDATE am_fact_metadata SET source_doc = 'x' WHERE CAST(fact_id AS INTEGER) <= 50")
    store.execute("UPDATE am_fact_metadata SET ed25519_sig = zeroblob(64) WHERE CAST(fact_id AS INTEGER) = 51")
    found = verified(settings)
    shown = to_terminal(found.report)
    assert shown.count("the signature does not verify") == LISTED
    assert "… and 30 more" in shown
    assert "downgraded:\n  '51'" in shown
    assert shown.endswith("NOT all rows are valid: invalid 50, downgraded 1 of 60.")
    assert to_markdown(found.report).count("| invalid |") == LISTED + 1
    facts = [{"fact_id": fact_id, "state": why[0], "detail": why[1]} for fact_id, why in found.facts.items()]
    content = json.loads("".join(to_json_parts(found.report, facts)))
    assert content["facts"] == facts
    assert set(content["states"]) == set(STATES)
    assert json.loads("".join(to_json_parts(found.report, [])))["facts"] == []


def test_text_from_the_database_cannot_drive_the_terminal(attested: Any, verified: Any) -> None:
    store, settings = attested(1)
    store.execute("UPDATE am_fact_metadata SET fact_id = ?", "\x1b[2J\r\n1")
    shown = to_terminal(verified(settings).report)
    assert "\x1b" not in shown and "\r" not in shown
    assert r"'\x1b[2J\r\n1'" in shown


def test_memory_does_not_grow_with_what_is_not_valid(
    store: Any, settings: Any, verified: Any, tmp_path: Any, registry: Any
) -> None:
    from tasks.attestation.public_keys import load_registry
    from tasks.reporting.verification import summarize_verification
    from tasks.rows.verify import findings_in, plan_verification, read_findings, verify_in_process

    made = store()
    made.insert("am_fact_metadata", ({"fact_id": str(n), "ed25519_sig": bytes(64)} for n in range(30_000)))
    loaded = settings(made, pacing={"batch_rows": 500, "chunk_rows": 5_000})
    known = load_registry(registry())
    tracemalloc.start()
    plan = plan_verification(loaded, known, run_id="verify", created_at="now")
    verdicts = list(verify_in_process(loaded, known, plan, workers=1, folder=tmp_path))
    report = summarize_verification(loaded, known, plan, verdicts, allow_unsigned=False, finished_at="now")
    files = [findings_in(tmp_path, chunk.chunk) for chunk in plan.chunks]
    written = sum(len(part) for part in to_json_parts(report, read_findings(files, root=tmp_path)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.states["unlogged"] == 30_000
    assert written > 2_500_000
    assert peak < 2_000_000
