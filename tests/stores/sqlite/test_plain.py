"""A fact that SQL calls plain is one that `derive` attests, as SQL does; the usual spellings are plain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.core.values import Fact, NotUtf8, Record, Reject
from tasks.derivation.rules import Rules, derive
from tasks.derivation.times import LAST_SECOND, TICKS, CreatedAtAs
from tasks.stores.sqlite.sql.plain import (
    confidence_is_plain,
    extracted_at_of_plain,
    key_is_plain,
    lower_of_plain,
    source_is_plain,
    time_is_plain,
    upper_of_plain,
)

RULES = Rules(confidence_width=0.05, default_extracted_at="2026-01-01T00:00:00.000Z")

USUAL_TIMES = [
    None,
    "2026-05-11 12:36:49",
    "2026-05-11T12:36:49",
    "2024-02-29T23:59:59Z",
    "0001-01-01 00:00:00",
    "9999-12-31T23:59:59.999Z",
    "2026-05-11 12:36:49.123",
    "2026-05-11T12:36:49+00:00",
    "2026-05-11T12:36:49.123456",
    "2026-05-11T12:36:49.123456Z",
    "2026-05-11T12:36:49.123456+00:00",
]
NO_TIMES = [
    "", "now", "2026", "2460000.5", "2026-02-29 00:00:00", "2026-05-11 24:00:00", "2026-05-11 12:60:00",
    "2026-05-11 12:36:60", "0000-05-11 12:36:49", "2026-13-11 12:36:49", "2026-05-11 12:36:49\0",
    "2026-05-11 12:36:49 ", "2026-05-11 12:36:49Z\0", "2026-05-11 12:36:49.12\0Z", "2026-05-11x12:36:49",
    "2026-05-11TT2:36:49", "0000-05-11T12:36:49", "-001-05-11 12:36:49", 1234567890123456789,
    "1234567890123456789", "1234567890123.45678",
    b"2026-05-11 12:36:49", 2460000.5, "2026-05-11 12:36:49.１23",
]  # fmt: skip
A_TIME = "2026-05-11 12:36:49"


@pytest.fixture(scope="module")
def told() -> Iterator[Any]:
    """`told(expression, value, ...)` is what SQLite makes of one value, in a column without affinity."""
    yield from asked_in_a_column("")


@pytest.fixture(scope="module", params=["", "TEXT COLLATE RTRIM", "DATETIME COLLATE NOCASE"])
def told_of_time(request: Any) -> Iterator[Any]:
    """The same for times, in columns whose affinity or collation compares values of other looks as equal."""
    yield from asked_in_a_column(request.param)


def asked_in_a_column(declared: str, **given: Any) -> Iterator[Any]:
    connection = apsw.Connection(":memory:")
    connection.execute(f"CREATE TABLE given (value {declared})")

    def ask(expression: Any, value: Any, **parameters: Any) -> Any:
        connection.execute("DELETE FROM given")
        if isinstance(value, NotUtf8):
            connection.execute("INSERT INTO given VALUES (CAST(? AS TEXT))", (bytes(value),))
        else:
            connection.execute("INSERT INTO given VALUES (?)", (value,))
        values = {"ticks": None, **given, **parameters}
        return connection.execute(f"SELECT {expression('value')} FROM given", values).get

    yield ask
    connection.close()


@pytest.fixture(scope="module")
def is_plain(told: Any) -> Any:
    return lambda expression, value: bool(told(expression, value))


@pytest.fixture(scope="module")
def is_plain_time(told_of_time: Any) -> Any:
    return lambda expression, value: bool(told_of_time(expression, value))


def damaged(texts: list[str]) -> st.SearchStrategy[str]:
    """A text of the list with a few characters replaced, removed or added."""
    edit = st.tuples(st.integers(0, 32), st.integers(0, 2), st.sampled_from("0123456789 T:-+.Z\0x４é"))

    def apply(text: str, edits: list[tuple[int, int, str]]) -> str:
        for place, removed, added in edits:
            text = text[:place] + added + text[place + removed :]
        return text

    return st.builds(apply, st.sampled_from(texts), st.lists(edit, max_size=3))


odd_values = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()
not_utf8 = st.builds(NotUtf8, st.sampled_from([b"\xff", b"https://\xe3\x81", b"2026-05-11 12:36:49\x80"]))
times = odd_values | not_utf8 | damaged([text for text in USUAL_TIMES if text]) | st.sampled_from(NO_TIMES)
sources = odd_values | not_utf8 | st.text("!~ \t\x7f\u3000h").map(str)
confidences = odd_values | not_utf8 | st.floats(-0.5, 1.5) | st.sampled_from(["0.5", " 1 ", "high", -0.0, 0, 1, 2])


def derived(rules: Rules = RULES, **values: Any) -> Record | Reject:
    """What `derive` makes of a fact that has nothing odd but these values."""
    fact = {"key": 1, "own_url": "https://a.test/", "source_url": None, "created_at": A_TIME, "confidence": 0.5}
    return derive(Fact(**{**fact, **values}, has_metadata=0), rules)


def rejected_for(**values: Any) -> bool:
    return isinstance(derived(**values), Reject)


@pytest.mark.parametrize("created_at", USUAL_TIMES)
def test_the_usual_spellings_of_a_time_are_plain(is_plain_time: Any, created_at: Any) -> None:
    assert is_plain_time(time_is_plain, created_at)
    assert not rejected_for(created_at=created_at)


@pytest.mark.parametrize("created_at", NO_TIMES)
def test_what_is_no_time_is_not_plain(is_plain_time: Any, created_at: Any) -> None:
    assert not is_plain_time(time_is_plain, created_at)


@given(created_at=times)
def test_a_plain_time_is_never_rejected(is_plain_time: Any, created_at: Any) -> None:
    if is_plain_time(time_is_plain, created_at):
        assert not rejected_for(created_at=created_at)


@given(created_at=times | st.datetimes().map(str) | st.datetimes().map(lambda t: t.isoformat(timespec="milliseconds")))
@example(created_at="2026-05-11 12:36:49.999999")
@example(created_at=None)
def test_a_plain_time_is_extracted_as_derive_would(told_of_time: Any, created_at: Any) -> None:
    if told_of_time(time_is_plain, created_at):
        expected = derived(created_at=created_at)
        assert isinstance(expected, Record)
        default = {"default_extracted_at": RULES.default_extracted_at}
        assert told_of_time(extracted_at_of_plain, created_at, **default) == expected.extracted_at


CLOCKS: list[tuple[CreatedAtAs, str]] = [
    (unit, declared) for unit in ("unix_seconds", "unix_milliseconds") for declared in ("", "TEXT", "INTEGER", "REAL")
]


@pytest.fixture(scope="module", params=CLOCKS)
def clock(request: Any) -> Iterator[Any]:
    """(how the times are meant, what SQLite makes of one in a column of some affinity)."""
    unit, declared = request.param
    for ask in asked_in_a_column(declared, ticks=TICKS[unit]):
        yield unit, ask


counts = (
    st.integers(-(2**40), 2**48)
    | st.sampled_from([0, -1, LAST_SECOND, LAST_SECOND + 1, LAST_SECOND * 1000 + 999, 2**63 - 1, 1_778_502_000_123])
    | st.floats(0, 2**42)
)
no_counts = st.sampled_from(["007", "1 ", " 1", "+1", "1e9", "1_0", "1\0", "١", "-0", "1.5", *NO_TIMES])
counted = counts | counts.map(str) | odd_values | no_counts


@given(created_at=counted)
def test_a_plain_count_of_seconds_is_extracted_as_derive_would(clock: Any, created_at: Any) -> None:
    unit, ask = clock
    held = ask(str, created_at)
    if ask(time_is_plain, created_at):
        rules = replace(RULES, created_at_as=unit)
        expected = derived(rules, created_at=held)
        assert isinstance(expected, Record)
        default = {"default_extracted_at": RULES.default_extracted_at}
        assert ask(extracted_at_of_plain, created_at, **default) == expected.extracted_at


@pytest.mark.parametrize("created_at", [0, 1_778_502_000, LAST_SECOND, "1778502000"])
def test_the_usual_counts_are_plain(clock: Any, created_at: Any) -> None:
    _, ask = clock
    assert ask(time_is_plain, created_at) or isinstance(ask(str, created_at), float)


@given(confidence=st.none() | st.floats(0, 1) | st.sampled_from([0, 1, -0.0]), width=st.floats(0, 1))
@example(confidence=0.05, width=0.05)
@example(confidence=1, width=0.0)
def test_a_plain_band_is_to_the_bit_that_of_derive(told: Any, confidence: Any, width: float) -> None:
    assert told(confidence_is_plain, confidence)
    expected = derived(Rules(confidence_width=width, default_extracted_at=""), confidence=confidence)
    assert isinstance(expected, Record)
    bounds = [told(bound, confidence, confidence_width=width) for bound in (lower_of_plain, upper_of_plain)]
    assert list(map(repr, bounds)) == list(map(repr, expected[-2:]))


@given(source=sources)
@example(source=" https://a.test/")
def test_a_plain_source_is_rejected_for_its_encoding_at_most(is_plain: Any, source: Any) -> None:
    if is_plain(source_is_plain, source):
        assert isinstance(source, NotUtf8) or not rejected_for(own_url=source)
        assert source is None or derive(Fact(1, source, "other", None, None, 0), RULES)[1] in (source, "not_utf8")


@given(confidence=confidences)
def test_a_plain_confidence_is_a_number_in_range(is_plain: Any, confidence: Any) -> None:
    plain = is_plain(confidence_is_plain, confidence)
    in_range = confidence is None or (isinstance(confidence, (int, float)) and 0 <= confidence <= 1)
    assert plain == in_range
    if plain:
        assert not rejected_for(confidence=confidence)


@given(key=odd_values | not_utf8)
def test_a_plain_key_is_an_integer_or_text(is_plain: Any, key: Any) -> None:
    assert is_plain(key_is_plain, key) == isinstance(key, (int, str, NotUtf8))


def test_visible_sources_are_plain_and_blank_or_foreign_ones_are_left_to_be_read(is_plain: Any) -> None:
    for source in (None, "https://a.test/", "!", "x", "law:1 法令"):
        assert is_plain(source_is_plain, source), source
    for source in ("", " ", "\t", "　", "法令", "\x7f", 7, 1.5, b"https://a.test/"):
        assert not is_plain(source_is_plain, source), source
