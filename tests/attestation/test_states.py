"""Each state has a row that was tampered with, and every tampering has its state."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.payload import encode
from tasks.attestation.public_keys import KeyRegistry, RegisteredKey, entry_for
from tasks.attestation.row_states import STATES, Judge, MetadataRow
from tasks.attestation.signature_column import PLACEHOLDER, PLACEHOLDER_HEX, VERSION, is_signature_present
from tasks.attestation.signer import Signer
from tasks.core.values import NotUtf8, Record

SIGNER = Signer(key_name="test/rows", seed=bytes(range(32)))
OTHER = Signer(key_name="test/other", seed=bytes(range(1, 33)))
UNREGISTERED = Signer(key_name="test/nobody", seed=bytes(range(2, 34)))
LATER = 100  # the attestation id from which the other key is no longer trusted


def entry(signer: Signer, use: Any = "rows", **changes: Any) -> RegisteredKey:
    return entry_for(VerifierKey(signer.key_name, signer.public_key), use).model_copy(update=changes)


REGISTRY = KeyRegistry((entry(SIGNER), entry(OTHER, state="revoked", revoked_at_leaf=LATER)))


def judge(registry: KeyRegistry = REGISTRY, logged_before: int | None = None) -> Judge:
    """Leaves and attestation ids are the same here."""
    return Judge(registry, first_id_of_leaf=lambda leaf: leaf, logged_before=lambda *_: logged_before)


def row(signer: Signer | None = SIGNER, **changes: Any) -> MetadataRow:
    """A row as a run writes it, then changed."""
    record = Record("事実-7", "https://例え.jp/出典", "2026-05-12T01:23:45.000Z", 0.45, 0.55)
    payload = encode(record, "etl")
    blob = PLACEHOLDER if signer is None else signer.blob(payload)
    logged = PLACEHOLDER_HEX if signer is None else blob[8:72].hex()
    sound = MetadataRow(
        record.fact_id, record.source_doc, record.extracted_at, "etl", record.confidence_lower,
        record.confidence_upper, blob, 5, logged, 0 if signer is None else None,
    )  # fmt: skip
    return sound._replace(**changes)


def state_of(one: MetadataRow, **options: Any) -> tuple[str, str]:
    """What both ways say: judge alone, and the shortcut over many."""
    alone = judge(**options).judge(one)
    assert judge(**options).findings([tuple(one)]) == ([] if alone is None else [alone])
    return ("valid", "") if alone is None else (alone.state, alone.detail)


SIGNATURE = row().ed25519_sig
FLIPPED = SIGNATURE[:40] + bytes([SIGNATURE[40] ^ 1]) + SIGNATURE[41:]


def test_findings_come_in_the_order_of_their_rows_whatever_decided_them() -> None:
    """What bytes decide, and what only the cryptography does, in turns; the valid ones leave no trace."""
    made = [
        row(fact_id="1"), row(), row(None, fact_id="2"), row(OTHER), row(OTHER, source_doc="3"),
        row(ed25519_sig=FLIPPED, fact_id="4"), row(OTHER, attestation_id=LATER), row(), row(extracted_at="6"),
    ]  # fmt: skip
    alone = [finding for finding in map(judge().judge, made) if finding is not None]
    found = judge().findings([tuple(one) for one in made])
    assert found == alone
    assert [one.state for one in found] == ["invalid", "unsigned", "invalid", "unlogged", "revoked", "invalid"]


def test_a_row_as_it_was_signed_is_valid() -> None:
    assert state_of(row()) == ("valid", "")
    assert state_of(row(OTHER)) == ("valid", "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ed25519_sig": None}, "NULL, expected a BLOB"),
        ({"ed25519_sig": "0" * 80}, "text, expected a BLOB"),
        ({"ed25519_sig": b""}, "0 bytes, expected 80, or 64 zero bytes"),
        ({"ed25519_sig": bytes(63)}, "63 bytes"),
        ({"ed25519_sig": bytes(80)}, "version 0000000000000000"),
        ({"ed25519_sig": SIGNATURE + b"\0"}, "81 bytes"),
        ({"ed25519_sig": SIGNATURE[8:72]}, "64 bytes that are not all zero"),
        ({"ed25519_sig": b"\x02" + SIGNATURE[1:]}, "version 0200000000000000"),
        ({"ed25519_sig": VERSION + bytes(64) + SIGNER.key_id}, "a signature of zero bytes"),
        ({"fact_id": 7}, "fact_id: an integer, expected text"),
        ({"fact_id": None}, "fact_id: NULL, expected text"),
        ({"fact_id": NotUtf8(b"\xff")}, "fact_id: not UTF-8, expected text"),
        ({"source_doc": b"https"}, "source_doc: a BLOB, expected text or NULL"),
        ({"source_doc": NotUtf8(b"\xff")}, "source_doc: not UTF-8"),
        ({"extracted_at": None}, "extracted_at: NULL, expected text"),
        ({"verified_by": 1}, "verified_by: an integer"),
        ({"confidence_lower": 0}, "confidence_lower: an integer, expected a REAL or NULL"),
        ({"confidence_upper": "1.0"}, "confidence_upper: text"),
    ],
)
def test_bytes_and_types_that_no_signature_has_are_malformed(changes: dict[str, Any], words: str) -> None:
    state, detail = state_of(row(**changes))
    assert state == "malformed"
    assert words in detail


def test_a_placeholder_whose_latest_log_row_says_so_is_unsigned() -> None:
    assert state_of(row(None))[0] == "unsigned"


def test_a_placeholder_in_a_row_of_odd_types_is_malformed_first() -> None:
    assert state_of(row(None, extracted_at=5))[0] == "malformed"


def test_a_placeholder_for_a_fact_that_was_ever_signed_is_downgraded() -> None:
    assert state_of(row(None, ever_signed=1))[0] == "downgraded"
    assert state_of(row(None, ever_signed=1, signature_hex="ab" * 64))[0] == "downgraded"


@pytest.mark.parametrize("logged", [None, "0" * 127, "0" * 130, b"0" * 128, 0, NotUtf8(b"\xff")])
def test_a_placeholder_without_its_log_row_is_unlogged(logged: Any) -> None:
    assert state_of(row(None, signature_hex=logged))[0] == "unlogged"


def test_a_key_id_that_is_not_registered_is_unknown() -> None:
    state, detail = state_of(row(UNREGISTERED))
    assert (state, detail) == ("unknown_key", f"key id {UNREGISTERED.key_id.hex()} is not in config/keys.yaml")


def test_a_key_for_checkpoints_is_unknown_among_rows() -> None:
    state, detail = state_of(row(), registry=KeyRegistry((entry(SIGNER, "checkpoints"),)))
    assert state == "unknown_key"
    assert "registered for checkpoints, not for rows" in detail


@pytest.mark.parametrize(
    "logged", [None, PLACEHOLDER_HEX, "ab" * 64, SIGNATURE[8:72].hex().upper(), b"x", 7, f"{SIGNATURE[8:72].hex()}00"]
)
def test_a_signature_that_is_not_that_of_the_latest_log_row_is_unlogged(logged: Any) -> None:
    assert state_of(row(signature_hex=logged))[0] == "unlogged"


def test_no_log_row_at_all_is_said() -> None:
    state, detail = state_of(row(attestation_id=None, signature_hex=None))
    assert (state, detail) == ("unlogged", "the log holds no row for this fact")


def test_a_signature_of_an_older_log_row_is_called_replayed() -> None:
    state, detail = state_of(row(signature_hex="ab" * 64), logged_before=3)
    assert (state, detail) == ("unlogged", "replayed: log row 3 holds this signature, but 5 is the latest")


@pytest.mark.parametrize(
    "changes",
    [
        {"fact_id": "事実-8"},
        {"source_doc": None},
        {"source_doc": "https://例え.jp/出典 "},
        {"extracted_at": "2026-05-12T01:23:45.001Z"},
        {"verified_by": "someone"},
        {"verified_by": None},
        {"confidence_lower": None},
        {"confidence_lower": 0.44999999999999996},
        {"confidence_upper": 1.0},
        {"ed25519_sig": FLIPPED, "signature_hex": FLIPPED[8:72].hex()},
        {"ed25519_sig": SIGNATURE[:72] + OTHER.key_id},
    ],
)
def test_a_field_or_signature_that_was_altered_is_invalid(changes: dict[str, Any]) -> None:
    assert state_of(row(**changes))[0] == "invalid"


def test_what_a_revoked_key_signed_from_that_leaf_on_is_revoked() -> None:
    assert state_of(row(OTHER, attestation_id=LATER - 1))[0] == "valid"
    assert state_of(row(OTHER, attestation_id=LATER))[0] == "revoked"


def test_a_key_that_was_revoked_without_a_leaf_never_counted() -> None:
    assert state_of(row(), registry=KeyRegistry((entry(SIGNER, state="revoked"),)))[0] == "revoked"


def test_what_a_superseded_key_signed_in_its_leaves_stays_valid_and_nothing_else_is() -> None:
    registry = KeyRegistry((entry(SIGNER, state="superseded", from_leaf=4, until_leaf=6),))
    found = [state_of(row(attestation_id=n), registry=registry)[0] for n in range(3, 9)]
    assert found == ["revoked", "valid", "valid", "valid", "revoked", "revoked"]


def test_a_signature_that_does_not_verify_is_invalid_before_it_is_revoked() -> None:
    registry = KeyRegistry((entry(SIGNER, state="revoked"),))
    assert state_of(row(source_doc="x"), registry=registry)[0] == "invalid"


def test_a_row_that_nobody_verified_by_name_can_be_valid() -> None:
    record = Record("1", None, "2026-05-12T01:23:45.000Z", None, None)
    blob = SIGNER.blob(encode(record, None))
    one = MetadataRow(*record[:3], None, None, None, blob, 1, blob[8:72].hex(), None)
    assert state_of(one)[0] == "valid"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
bounds = st.none() | st.floats(0, 1)
odd = st.none() | st.integers() | st.binary(max_size=90) | texts | st.floats() | st.binary().map(NotUtf8)


@given(
    fact_id=texts, source=st.none() | texts, at=texts, by=st.none() | texts, lower=bounds, upper=bounds, data=st.data()
)
def test_any_row_is_valid_as_signed_and_not_after_any_change(
    fact_id: str, source: str | None, at: str, by: str | None, lower: Any, upper: Any, data: st.DataObject
) -> None:
    blob = SIGNER.blob(encode(Record(fact_id, source, at, lower, upper), by))
    one = MetadataRow(fact_id, source, at, by, lower, upper, blob, 5, blob[8:72].hex(), None)
    assert state_of(one)[0] == "valid"
    name = data.draw(st.sampled_from([*MetadataRow._fields[:7], "signature_hex"]))
    value = data.draw(odd)
    changed = one._replace(**{name: value})
    same = type(value) is type(getattr(one, name)) and repr(value) == repr(getattr(one, name))
    state, _ = state_of(changed)
    assert state in STATES
    assert (state == "valid") == same
    if name == "ed25519_sig" and not same:
        assert state in ("malformed", "unlogged", "unknown_key")
    if name == "signature_hex" and not same:
        assert state == "unlogged"


@given(position=st.integers(0, 79), bit=st.integers(0, 7))
def test_every_bit_of_the_signature_column_counts(position: int, bit: int) -> None:
    blob = bytearray(SIGNATURE)
    blob[position] ^= 1 << bit
    changed = bytes(blob)
    expected = "malformed" if position < 8 else "invalid" if position < 72 else "unknown_key"
    assert state_of(row(ed25519_sig=changed, signature_hex=changed[8:72].hex()))[0] == expected


@pytest.mark.parametrize(
    ("blob", "present"),
    [
        (PLACEHOLDER, False), (SIGNATURE, True), (VERSION + bytes(64) + SIGNER.key_id, False), (b"", False),
        (bytes(63) + b"\1", True), (None, False), ("text", False),
    ],
)  # fmt: skip
def test_zeros_are_no_signature(blob: Any, present: bool) -> None:
    assert is_signature_present(blob) is present


def test_a_row_from_sqlite_keeps_the_types_that_are_judged() -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        values = connection.execute("SELECT 0.5, 1, 'a', x'00', NULL").fetchall()[0]
    assert [type(value) for value in values] == [float, int, str, bytes, type(None)]


def test_a_signature_over_values_of_other_types_does_not_make_them_sound() -> None:
    """REAL columns never hold integers; a column without a type does, and JSON would spell them otherwise."""
    record = Record("1", None, "2026-05-12T01:23:45.000Z", 0, 1)
    for lower, upper in ((0, 1), (0.0, 1), (0, 1.0)):
        signed = SIGNER.blob(encode(record._replace(confidence_lower=lower, confidence_upper=upper), "etl"))
        one = MetadataRow(*record[:3], "etl", lower, upper, signed, 1, signed[8:72].hex(), None)
        assert state_of(one)[0] == "malformed"
