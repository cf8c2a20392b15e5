"""The payload is canonical JSON, to the byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.attestation.payload import encode, encoder
from tasks.core.values import Record

RECORD = Record("17", "https://example.org/法令", "2026-05-11T12:36:49.000Z", 0.45, 0.55)

texts = st.text() | st.text(st.sampled_from('\x00\x08\t\n\x1f"\\/\x7f\x80\u2028\ud7ff\uffff\U0001f600'))
floats = st.none() | st.floats() | st.sampled_from([0.0, -0.0, 1.0, 1e-9, 5e-324, 0.1 + 0.2, 1e16, 1e22])
records = st.builds(Record, texts, st.none() | texts, texts, floats, floats)


def reference(record: Record, verified_by: str) -> bytes:
    fields = record._asdict() | {"verified_by": verified_by}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@given(record=records, verified_by=texts)
@example(record=Record("\x00", '"', "\\", 1e-9, 5e-324), verified_by="\U0001f600\x7f")
@example(record=Record("", None, "", float("nan"), float("inf")), verified_by="")
@example(record=Record("None", "nan", "null", float("-inf"), -0.0), verified_by="{}")
def test_the_payload_equals_json_dumps_on_every_input(record: Record, verified_by: str) -> None:
    assert encode(record, verified_by) == reference(record, verified_by)


@given(batch=st.lists(records), verified_by=texts)
def test_one_encoder_serves_many_records(batch: list[Record], verified_by: str) -> None:
    encode_one = encoder(verified_by)
    assert [encode_one(record) for record in batch] == [encode(record, verified_by) for record in batch]


@pytest.mark.parametrize(
    ("one", "other"),
    [((0.0, 0.5), (-0.0, 0.5)), ((0.5, 0.0), (0.5, -0.0)), ((0.5, 1.0), (0.5, 1)), ((1.0, 0.5), (1, 0.5))],
)
def test_bands_that_are_equal_but_spelt_differently_are_not_mixed_up(one: Any, other: Any) -> None:
    for bands in ((one, other), (other, one)):
        encode_one = encoder("a")
        for lower, upper in bands:
            record = RECORD._replace(confidence_lower=lower, confidence_upper=upper)
            assert encode_one(record) == reference(record, "a")


def test_the_payload_reads_as_specified() -> None:
    assert encode(RECORD, "etl_prov_backfill_v2").decode() == (
        '{"confidence_lower":0.45,"confidence_upper":0.55,"extracted_at":"2026-05-11T12:36:49.000Z",'
        '"fact_id":"17","source_doc":"https://example.org/法令","verified_by":"etl_prov_backfill_v2"}'
    )


@pytest.mark.parametrize("field", ["fact_id", "source_doc", "extracted_at"])
def test_a_lone_surrogate_is_refused_as_by_the_reference(field: str) -> None:
    record = RECORD._replace(**{field: "\udcff"})  # type: ignore[arg-type]
    for function in (encode, reference):
        with pytest.raises(UnicodeEncodeError):
            function(record, "x")
