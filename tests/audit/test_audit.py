"""Each kind of tampering has its own verdict, which names the first fact or leaf. The second opinion says the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tasks.attestation.log import notes
from tasks.attestation.log.checkpoints import Checkpoint
from tasks.attestation.log.leaves import LogRow, leaf_data
from tasks.attestation.log.merkle import leaf_hash
from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import KeyRegistry, entry_for
from tasks.attestation.signature_column import PLACEHOLDER
from tasks.attestation.signer import Signer
from tasks.audit.audit import audit
from tasks.audit.report import AuditOrder

Agree = Callable[..., set[Any]]
KEYS = [
    VerifierKey(name, Signer(key_name=name, seed=bytes(range(start, start + 32))).public_key)
    for name, start in (("provenance-backfill/sample", 0), ("provenance-backfill/sample-log", 32))
]
REGISTRY = KeyRegistry((entry_for(KEYS[0], "rows"), entry_for(KEYS[1], "checkpoints")))
STRANGER = Signer(key_name="somebody/else", seed=bytes(range(100, 132)))


def test_an_untouched_store_is_clean_against_every_checkpoint_it_ever_had(sealed: Any, agree: Agree) -> None:
    for checkpoint in sealed.checkpoints:
        for since in (None, *sealed.checkpoints):
            assert agree(sealed, since, checkpoint=checkpoint) == set()
    report = sealed.audit()
    assert (report.verdict, report.leaves, report.unsealed_rows, report.metadata_rows) == ("clean", 23, 0, 20)
    assert report.signatures == {"valid": 19, "unsigned": 1}


def test_rows_after_the_last_leaf_are_counted_and_not_cried_about(sealed: Any, agree: Agree) -> None:
    sealed.attest("new")
    sealed.attest("5", source="https://example.org/changed")
    assert agree(sealed) == set()
    assert sealed.audit().unsealed_rows == 2


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("signed_at", "2020-01-01T00:00:00.000Z"), ("attester", "somebody"), ("notes", "x"), ("fact_id", "77"),
        ("signature_hex", "ab" * 64), ("signature_hex", "0" * 128), ("signed_at", b"\x00"),
        ("attester", 7), ("notes", 0.5),
    ],
)  # fmt: skip
def test_an_edited_row_of_the_log_is_named(sealed: Any, agree: Agree, column: str, value: Any) -> None:
    sealed.execute(f"UPDATE am_fact_attestation_log SET {column} = ? WHERE attestation_id = 6", (value,))
    fact = value if column == "fact_id" else "4"
    assert ("row_edited", 5, fact) in agree(sealed)
    assert sealed.audit(root_only=True).verdict == "row_edited"


def test_text_that_is_not_utf8_is_an_edit_too(sealed: Any, agree: Agree) -> None:
    sealed.execute("UPDATE am_fact_attestation_log SET signed_at = CAST(x'c328' AS TEXT) WHERE attestation_id = 6")
    assert agree(sealed) == {("row_edited", 5, "4")}


def test_a_deleted_row_of_the_log_is_named(sealed: Any, agree: Agree) -> None:
    sealed.execute("DELETE FROM am_fact_attestation_log WHERE attestation_id = 6")
    assert ("row_missing", 5, None) in agree(sealed)


def test_a_row_put_between_sealed_ones_is_named(sealed: Any, agree: Agree) -> None:
    insert(sealed, 105)
    assert ("row_inserted", None, "5") in agree(sealed)


def test_a_row_put_before_all_others_is_named(sealed: Any, agree: Agree) -> None:
    insert(sealed, -(2**63))
    assert ("row_inserted", None, "5") in agree(sealed)


def insert(sealed: Any, attestation_id: int) -> None:
    sealed.execute(
        "INSERT INTO am_fact_attestation_log (attestation_id, fact_id, attester, signature_hex) VALUES (?, ?, ?, ?)",
        (attestation_id, "5", "somebody", "ab" * 64),
    )


def test_two_rows_that_changed_places_are_reordered(sealed: Any, agree: Agree) -> None:
    swap = "UPDATE am_fact_attestation_log SET attestation_id = ? WHERE attestation_id = ?"
    for to, was in ((-1, 3), (3, 6), (6, -1)):
        sealed.execute(swap, (to, was))
    found = agree(sealed)
    assert {("row_reordered", 2, "4"), ("row_reordered", 5, "1")} <= found
    assert sealed.audit().findings[0].detail


@pytest.mark.parametrize("table", ["am_attestation_tile", "am_attestation_checkpoint"])
def test_a_log_cut_back_to_an_older_state_is_truncated(sealed: Any, agree: Agree, table: str) -> None:
    sealed.execute("DELETE FROM am_fact_attestation_log WHERE attestation_id > 135")
    sealed.execute("DELETE FROM am_attestation_tile WHERE first_leaf >= 15")
    if table == "am_attestation_checkpoint":
        sealed.execute("DELETE FROM am_attestation_checkpoint WHERE tree_size > 15")
    assert ("log_truncated", 15, None) in agree(sealed)
    assert sealed.audit(root_only=True).verdict == "log_truncated"


def test_a_history_that_was_signed_twice_is_inconsistent(sealed: Any, store: Any, agree: Agree) -> None:
    """Somebody with the checkpoint key rebuilds the log from the start: only a checkpoint kept elsewhere tells."""
    kept = sealed.checkpoints[0]
    for number in range(9):
        store.attest(f"other-{number}")
    store.seal()
    for number in range(9):
        store.attest(f"more-{number}")
    store.seal()
    assert agree(store) == set()
    found = agree(store, kept)
    assert ("inconsistent", 8, None) in found
    assert store.audit(since=kept).verdict == "inconsistent"


def test_two_checkpoints_of_one_size_and_two_roots_are_inconsistent(sealed: Any, agree: Agree) -> None:
    text = Checkpoint("provenance-backfill/sample-log", 23, bytes(32)).text
    other = notes.sign(text, Signer(key_name="provenance-backfill/sample-log", seed=bytes(range(32, 64)))).encode()
    assert ("inconsistent", 23, None) in agree(sealed, other)
    found = agree(sealed, checkpoint=other)
    assert {("inconsistent", 23, None), ("log_rewritten", 15, None)} <= found


def test_the_signature_of_the_checkpoint_comes_first(sealed: Any, agree: Agree) -> None:
    good = sealed.checkpoints[-1]
    text = notes.Note.parse(good).text
    cases = {
        "checkpoint_malformed": b"no note at all\n",
        "checkpoint_unknown_key": notes.sign(text, STRANGER).encode(),
        "checkpoint_bad_signature": good.replace(b"\n23\n", b"\n22\n"),
    }
    for verdict, data in cases.items():
        assert agree(sealed, checkpoint=data) == {(verdict, None, None)}
        assert agree(sealed, data) == {(verdict, None, None)}


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"state": "revoked"}, "checkpoint_unknown_key"),
        ({"state": "revoked", "revoked_at_leaf": 23}, "clean"),
        ({"state": "revoked", "revoked_at_leaf": 22}, "checkpoint_unknown_key"),
        ({"state": "superseded", "until_leaf": 22}, "clean"),
        ({"state": "superseded", "until_leaf": 21}, "checkpoint_unknown_key"),
        ({"from_leaf": 8}, "stored_checkpoint_damaged"),
    ],
)
def test_a_key_signs_checkpoints_of_its_leaves_only(sealed: Any, change: dict[str, Any], verdict: str) -> None:
    rows, log = REGISTRY.keys
    registry = KeyRegistry((rows, log.model_copy(update=change)))
    order = AuditOrder(checkpoint=sealed.checkpoints[-1], allow_unsigned=True)
    assert audit(sealed.settings, registry, order).verdict == verdict


def test_a_checkpoint_of_another_log_is_not_compared(sealed: Any, agree: Agree) -> None:
    text = Checkpoint("another/log", 3, bytes(32)).text
    other = notes.sign(text, Signer(key_name="provenance-backfill/sample-log", seed=bytes(range(32, 64)))).encode()
    assert agree(sealed, other) == {("checkpoint_other_log", None, None)}


@pytest.mark.parametrize(
    ("column", "verdict"),
    [("leaf_marks", "tile_damaged"), ("payload_digests", "tile_damaged"), ("subtree_roots", "tile_damaged")],
)
def test_a_damaged_tile_is_told_from_an_edited_row(sealed: Any, agree: Agree, column: str, verdict: str) -> None:
    damaged = sealed.execute(f"SELECT {column} FROM am_attestation_tile WHERE first_leaf = 8")[0][0]
    damaged = bytes([damaged[0] ^ 1]) + damaged[1:]
    sealed.execute(f"UPDATE am_attestation_tile SET {column} = ? WHERE first_leaf = 8", (damaged,))
    found = agree(sealed)
    assert {(name, leaf) for name, leaf, _ in found} >= {(verdict, 8)}
    assert sealed.audit(root_only=True).verdict == verdict


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM am_attestation_tile WHERE first_leaf = 8",
        "UPDATE am_attestation_tile SET leaves = 8 WHERE first_leaf = 8",
        "UPDATE am_attestation_tile SET leaves = 'many' WHERE first_leaf = 8",
        "UPDATE am_attestation_tile SET attestation_ids = NULL WHERE first_leaf = 8",
        "UPDATE am_attestation_tile SET attestation_ids = x'00' WHERE first_leaf = 8",
        "UPDATE am_attestation_tile SET first_attestation_id = 1 WHERE first_leaf = 8",
        "UPDATE am_attestation_tile SET subtree_roots = x'' WHERE first_leaf = 8",
        "UPDATE am_attestation_tile SET first_leaf = 9 WHERE first_leaf = 8",
    ],
)
def test_tiles_that_make_no_log_are_named_by_the_leaf_where_they_break(sealed: Any, agree: Agree, change: str) -> None:
    sealed.execute(change)
    assert ("tile_damaged", 8, None) in agree(sealed)


@pytest.mark.parametrize(
    "change",
    [
        "SET root = x'" + "00" * 32 + "'",
        "SET frontier = substr(frontier, 1, 8) || zeroblob(32)",
        "SET note = (SELECT note FROM am_attestation_checkpoint WHERE tree_size = 15)",
        "SET frontier = x'00'", "SET note = replace(note, 'A', 'B')",
        "SET note = x'ff'", "SET last_attestation_id = 7", "SET tree_size = 9",
    ],
)  # fmt: skip
def test_a_stored_checkpoint_that_is_not_what_was_signed_is_named(sealed: Any, agree: Agree, change: str) -> None:
    sealed.execute(f"UPDATE am_attestation_checkpoint {change} WHERE tree_size = 8")
    size = 9 if change.startswith("SET tree_size") else 8
    assert agree(sealed) == {("stored_checkpoint_damaged", size, None)}


def test_a_row_rewritten_with_its_mark_is_found_by_the_signed_root(sealed: Any, agree: Agree) -> None:
    """The tile's roots still lead to the signed root, so they say which tile."""
    rewrite(sealed, roots=False)
    assert ("log_rewritten", 8, None) in agree(sealed)


def test_a_row_rewritten_with_mark_and_roots_is_found_between_checkpoints(sealed: Any, agree: Agree) -> None:
    rewrite(sealed, roots=True)
    found = agree(sealed)
    assert ("log_rewritten", 8, None) in found
    assert not verdicts(found) & {"row_edited", "tile_damaged"}


def rewrite(sealed: Any, *, roots: bool) -> None:
    """Alter leaf 10 and let its tile say so."""
    sealed.execute("UPDATE am_fact_attestation_log SET notes = 'rewritten' WHERE attestation_id = 127")
    row = sealed.execute(
        "SELECT attestation_id, attester, fact_id, notes, signature_hex, signed_at FROM am_fact_attestation_log "
        "WHERE attestation_id = 127"
    )[0]
    marks, digests, subtree_roots = sealed.execute(
        "SELECT leaf_marks, payload_digests, subtree_roots FROM am_attestation_tile WHERE first_leaf = 8"
    )[0]
    hashed = leaf_hash(leaf_data(LogRow(*row), digests[64:96]))
    marks = marks[:16] + hashed[:8] + marks[24:]
    subtree_roots = bytes(32) + subtree_roots[32:] if roots else subtree_roots
    sealed.execute(
        "UPDATE am_attestation_tile SET leaf_marks = ?, subtree_roots = ? WHERE first_leaf = 8", (marks, subtree_roots)
    )


METADATA = {
    "metadata_missing": "DELETE FROM am_fact_metadata WHERE fact_id = '5'",
    "metadata_malformed": "UPDATE am_fact_metadata SET ed25519_sig = x'00' WHERE fact_id = '5'",
    "metadata_downgraded": "UPDATE am_fact_metadata SET ed25519_sig = zeroblob(64) WHERE fact_id = '5'",
    "metadata_replaced": "UPDATE am_fact_metadata SET ed25519_sig = "
    "(SELECT ed25519_sig FROM am_fact_metadata WHERE fact_id = '6') WHERE fact_id = '5'",
    "metadata_edited": "UPDATE am_fact_metadata SET confidence_lower = 0.46 WHERE fact_id = '5'",
}


@pytest.mark.parametrize("verdict", METADATA)
def test_metadata_that_does_not_match_its_latest_leaf_is_named(sealed: Any, agree: Agree, verdict: str) -> None:
    sealed.execute(METADATA[verdict])
    found = agree(sealed)
    assert (verdict, 6, "5") in found
    assert sealed.audit().verdict == verdict
    assert sealed.audit(root_only=True).clean


def test_an_old_row_played_back_is_replayed(sealed: Any, agree: Agree) -> None:
    old = sealed.execute("SELECT signature_hex FROM am_fact_attestation_log WHERE fact_id = '3' ORDER BY 1")
    first = sealed.execute("SELECT signature_hex FROM am_fact_attestation_log WHERE attestation_id = 5")[0][0]
    blob = bytes.fromhex("0100000000000000" + first) + REGISTERED
    sealed.execute(
        "UPDATE am_fact_metadata SET source_doc = 'https://example.org/法令', ed25519_sig = ? WHERE fact_id = '3'",
        (blob,),
    )
    assert len(old) == 3
    assert agree(sealed) == {("metadata_replayed", 22, "3"), ("signature_unlogged", None, "3")}


REGISTERED = Signer(key_name="provenance-backfill/sample", seed=bytes(range(32))).key_id


def test_an_unsigned_row_cannot_be_edited_in_silence(sealed: Any, agree: Agree) -> None:
    sealed.execute("UPDATE am_fact_metadata SET source_doc = 'https://evil.example' WHERE fact_id = 'unsigned-1'")
    assert agree(sealed) == {("metadata_edited", 14, "unsigned-1")}


def test_metadata_that_the_log_does_not_know_is_named(sealed: Any, agree: Agree) -> None:
    sealed.execute("INSERT INTO am_fact_metadata (fact_id, ed25519_sig) VALUES ('planted', ?)", (PLACEHOLDER,))
    assert ("metadata_unlogged", None, "planted") in agree(sealed)


def test_a_fact_id_that_is_no_text_is_named_alike(sealed: Any, agree: Agree) -> None:
    sealed.execute("UPDATE am_fact_metadata SET fact_id = CAST(x'fffe' AS TEXT) WHERE fact_id = '5'")
    sealed.execute("UPDATE am_fact_metadata SET fact_id = x'00ff' WHERE fact_id = '6'")
    found = agree(sealed)
    assert {("signature_malformed", None, "\\xff\\xfe"), ("signature_malformed", None, "x'00ff'")} <= found


def test_a_sample_of_signatures_looks_at_that_many_facts(sealed: Any) -> None:
    report = sealed.audit(sample=5)
    assert report.clean
    assert 1 <= sum(report.signatures.values()) <= 5
    assert sealed.audit(sample=0).signatures == {}
    assert sum(sealed.audit(sample=1000).signatures.values()) == 20


def test_processes_find_the_same(sealed: Any) -> None:
    sealed.execute("UPDATE am_fact_attestation_log SET notes = 'x' WHERE attestation_id = 6")
    alone, together = sealed.audit(root_only=True), sealed.audit(root_only=True, workers=2)
    assert alone.findings == together.findings != []


def verdicts(found: set[Any]) -> set[str]:
    return {verdict for verdict, _, _ in found}


@pytest.mark.parametrize("part", [{"state": "superseded", "until_leaf": 23}, {"from_leaf": 9}])
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE am_attestation_tile SET attestation_ids = zeroblob(16) WHERE first_leaf = 8",
        "UPDATE am_attestation_tile SET attestation_ids = zeroblob(length(attestation_ids)) WHERE first_leaf = 8",
        "DELETE FROM am_attestation_tile WHERE first_leaf = 8",
        "UPDATE am_attestation_tile SET last_attestation_id = 'x' WHERE first_leaf = 15",
        "SELECT 1",
    ],
)
def test_both_opinions_agree_on_the_leaves_of_a_key(
    sealed: Any, agree: Agree, part: dict[str, Any], change: str
) -> None:
    for number in range(100, 103):  # leaves 23 to 25, not sealed yet
        sealed.attest(str(number))
    sealed.execute(change)
    rows, log = REGISTRY.keys
    found = agree(sealed, registry=KeyRegistry((rows.model_copy(update=part), log)))
    revoked = {fact for verdict, _, fact in found if verdict == "signature_revoked"}
    if change == "SELECT 1":
        assert found == {("signature_revoked", None, fact) for fact in revoked}
        assert revoked == ({"101", "102"} if "until_leaf" in part else {"0", "1", "2", "4", "5", "6", "7"})
