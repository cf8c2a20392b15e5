"""Keys as JSON and as words: nothing that SQLite can hold is lost on the way to plan.json and back."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.fact_keys import Key, decoded, describe, from_json, to_json
from tasks.core.values import NotUtf8

KEYS = st.one_of(
    st.none(),
    st.integers(min_value=-(2**63), max_value=2**63 - 1),
    st.floats(allow_nan=False),  # SQLite turns NaN into NULL
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
    st.binary().map(NotUtf8),
)


@given(KEYS)
def test_every_key_comes_back_from_json_as_it_was(key: Key) -> None:
    back = from_json(json.loads(json.dumps(to_json(key), ensure_ascii=False)))
    assert type(back) is type(key)
    assert back == key
    if isinstance(key, float):
        assert math.copysign(1, key) == math.copysign(1, back)  # type: ignore[arg-type]


def test_numbers_and_text_are_plain_json_so_that_people_can_read_a_plan() -> None:
    assert [to_json(key) for key in (7, 1.5, "事実-7", None)] == [7, 1.5, "事実-7", None]
    assert to_json(b"\x00\xff") == {"blob_hex": "00ff"}
    assert to_json(NotUtf8(b"\xff")) == {"text_hex": "ff"}


@pytest.mark.parametrize(
    "value", [True, False, [], {}, {"blob_hex": "00", "text_hex": "00"}, {"other": "00"}, {"blob_hex": "0g"}, [1]]
)
def test_what_no_key_can_be_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r"not a key|hexadecimal"):
        from_json(value)


@pytest.mark.parametrize(
    ("key", "words"),
    [(1642117, "1642117"), (-5, "-5"), ("事実-7", "'事実-7'"), (b"\x00\xff", "x'00ff'"), (NotUtf8(b"\xff"), "x'ff'"),
     (None, "start"), (1.5, "1.5"), ("a\nb", "'a\\nb'"), ("\x1b[2J", "'\\x1b[2J'")],
)  # fmt: skip
def test_a_key_in_a_message_is_short_and_harmless(key: Key, words: str) -> None:
    assert describe(key) == words


def test_text_read_as_bytes_is_decoded_and_broken_text_keeps_its_bytes() -> None:
    assert decoded(1, "é".encode()) == "é"
    assert decoded(0, b"\xff") == b"\xff"
    assert type(decoded(0, b"\xff")) is bytes
    assert decoded(1, b"\xff") == NotUtf8(b"\xff")
    assert type(decoded(1, b"\xff")) is NotUtf8
    assert decoded(0, None) is None
