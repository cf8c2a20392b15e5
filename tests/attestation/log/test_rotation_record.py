"""A rotation is read exactly as it was built, and any other spelling is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.log.rotation_record import (
    BEHIND_PREFIX,
    PREFIX,
    LoggedRotation,
    RotationRecord,
    RotationRow,
    is_rotation,
    parse,
    told_key_ids,
)
from tasks.attestation.signer import Signer
from tasks.core.values import NotUtf8

OLD = Signer(key_name="test/rows", seed=bytes(range(32)))
NEW = Signer(key_name="test/次", seed=bytes(range(1, 33)))
OLD_KEY, NEW_KEY = (VerifierKey(one.key_name, one.public_key) for one in (OLD, NEW))
RECORD = RotationRecord(OLD_KEY, NEW_KEY, "2026-05-12T01:23:45.000Z")
SIGNED = OLD.sign(RECORD.notes.encode()) + NEW.sign(RECORD.notes.encode())
ROW = RotationRow(7, RECORD.fact_id, SIGNED.hex(), RECORD.notes)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_built_is_read_again(rotated_at: str) -> None:
    record = RotationRecord(OLD_KEY, NEW_KEY, rotated_at)
    assert parse(RotationRow(1, record.fact_id, "ab", record.notes)) == LoggedRotation(record, b"\xab")


def test_the_record_is_spelt_as_documented() -> None:
    assert RECORD.fact_id == f"key-rotation/{OLD.key_id.hex()}/{NEW.key_id.hex()}"
    assert RECORD.notes == (
        f'{{"new_vkey":"{NEW_KEY}","old_vkey":"{OLD_KEY}","rotated_at":"2026-05-12T01:23:45.000Z",'
        f'"type":"key-rotation"}}'
    )
    assert told_key_ids(RECORD.fact_id) == (OLD.key_id.hex(), NEW.key_id.hex())


@pytest.mark.parametrize(
    "changed",
    [
        {"notes": RECORD.notes + " "},
        {"notes": json.dumps(json.loads(RECORD.notes))},
        {"notes": RECORD.notes.replace("key-rotation", "rotation")},
        {"notes": None},
        {"notes": NotUtf8(b"\xff")},
        {"notes": "[" * 100_000},
        {"notes": "7"},
        {"signature_hex": "x"},
        {"fact_id": f"key-rotation/{NEW.key_id.hex()}/{OLD.key_id.hex()}"},
        {"fact_id": None},
    ],
)
def test_any_other_spelling_is_no_rotation(changed: dict[str, Any]) -> None:
    assert isinstance(parse(ROW), LoggedRotation)
    assert isinstance(parse(ROW._replace(**changed)), str)


@pytest.mark.parametrize(
    ("signatures", "objection"),
    [
        (SIGNED, None),
        (SIGNED[64:] + SIGNED[:64], "test/rows has not signed it"),
        (SIGNED[:64] * 2, "test/次 has not signed it"),
        (SIGNED[:-1], "test/rows has not signed it"),
        (SIGNED + b"\0", "test/rows has not signed it"),
        (bytes(128), "test/rows has not signed it"),
    ],
)
def test_both_keys_must_have_signed(signatures: bytes, objection: str | None) -> None:
    assert LoggedRotation(RECORD, signatures).unsigned() == objection


def test_a_key_that_is_not_registered_is_named() -> None:
    told = LoggedRotation(RECORD, SIGNED)
    assert told.unknown({str(OLD_KEY), str(NEW_KEY)}) is None
    assert told.unknown({str(OLD_KEY)}) == "test/次 is not registered with this public key"


@given(
    st.text()
    | st.builds(lambda head, tail: head + tail, st.sampled_from([PREFIX, PREFIX[:-1]]), st.text())
    | st.sampled_from([PREFIX[:-1], BEHIND_PREFIX])
)
def test_the_range_of_the_prefix_holds_the_rotations_and_nothing_else(fact_id: str) -> None:
    assert (PREFIX <= fact_id < BEHIND_PREFIX) == is_rotation(fact_id)


@pytest.mark.parametrize(("fact_id", "told"), [("", ("", "")), ("key-rotation/a", ("a", "")), (None, ("", ""))])
def test_a_fact_id_that_names_no_keys_tells_of_none(fact_id: object, told: tuple[str, str]) -> None:
    assert told_key_ids(fact_id) == told
