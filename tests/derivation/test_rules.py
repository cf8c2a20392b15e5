"""The rules by which a fact becomes a record, one example and one property at a time."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.core.clock import now_iso
from tasks.core.values import (
    CONFIDENCE_OUT_OF_RANGE,
    CREATED_AT_UNPARSEABLE,
    KEY_NOT_TEXT_OR_INTEGER,
    KEY_READS_LIKE_ANOTHER,
    NOT_UTF8,
    READS_LIKE_ANOTHER,
    REASONS,
    SOURCE_NOT_TEXT,
    TOO_LONG,
    Fact,
    NotUtf8,
    Record,
    Reject,
    TooLong,
    Value,
)
from tasks.derivation import batch
from tasks.derivation.batch import Derivation, derive_batch
from tasks.derivation.rules import Rules, derive, parse_created_at, stays_unchanged

RULES = Rules(confidence_width=0.05, default_extracted_at="2026-11-22T00:00:00.000Z")
PLAIN = Fact(
    key=17,
    own_url="https://example.org/own",
    source_url="https://example.org/source",
    created_at="2026-05-11 12:36:49",
    confidence=0.5,
    has_metadata=0,
)
BROKEN = NotUtf8(b"caf\xe9")


def record_of(**changes: Any) -> Record:
    outcome = derive(PLAIN._replace(**changes), RULES)
    assert isinstance(outcome, Record), outcome
    return outcome


def reject_of(**changes: Any) -> Reject:
    outcome = derive(PLAIN._replace(**changes), RULES)
    assert isinstance(outcome, Reject), outcome
    return outcome


def test_a_plain_fact_becomes_a_record() -> None:
    assert derive(PLAIN, RULES) == Record(
        fact_id="17",
        source_doc="https://example.org/own",
        extracted_at="2026-05-11T12:36:49.000Z",
        confidence_lower=0.45,
        confidence_upper=0.55,
    )


# --- fact_id ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "fact_id"),
    [
        (0, "0"),
        (-7, "-7"),
        (2**63 - 1, "9223372036854775807"),
        ("F-1", "F-1"),
        ("", ""),
        (" 7\x00", " 7\x00"),
    ],
)
def test_an_integer_or_text_key_is_the_fact_id(key: Value, fact_id: str) -> None:
    assert record_of(key=key).fact_id == fact_id


@pytest.mark.parametrize(
    ("key", "fact_id"), [(None, "NULL"), (b"\x00\xff", "x'00ff'"), (b"", "x''"), (1.5, "1.5"), (2.0, "2.0")]
)
def test_any_other_key_is_rejected_under_a_readable_name(key: Value, fact_id: str) -> None:
    reject = reject_of(key=key)
    assert (reject.fact_id, reject.reason) == (fact_id, KEY_NOT_TEXT_OR_INTEGER)


# --- source_doc ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own_url", "source_url", "source_doc"),
    [
        ("own", "source", "own"),
        (" own\n", "source", " own\n"),
        (None, "source", "source"),
        ("", " source ", " source "),
        (" \t\u3000", "source", "source"),
        (None, None, None),
        (None, "", None),
        ("\u2028", "\xa0", None),
        ("\x00", "source", "source"),
        ("\x00x", "source", "\x00x"),
        ("\u200b", "source", "source"),
        ("\ufeff\u2060", "\u3164", None),
        ("\u200b出典\ufe0f", "source", "\u200b出典\ufe0f"),
        ("own", b"\xff", "own"),
        ("own", BROKEN, "own"),
    ],
)
def test_the_source_is_the_first_that_is_not_blank_verbatim(
    own_url: Value, source_url: Value, source_doc: str | None
) -> None:
    assert record_of(own_url=own_url, source_url=source_url).source_doc == source_doc


@pytest.mark.parametrize(("own_url", "source_url"), [(b"x", "s"), (0, "s"), (1.5, "s"), (None, b""), (" ", 7)])
def test_a_source_that_is_not_text_is_rejected(own_url: Value, source_url: Value) -> None:
    assert reject_of(own_url=own_url, source_url=source_url).reason == SOURCE_NOT_TEXT


# --- extracted_at ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("created_at", "extracted_at"),
    [
        ("2026-05-11", "2026-05-11T00:00:00.000Z"),
        ("2026-05-11 12:36", "2026-05-11T12:36:00.000Z"),
        ("2026-05-11T12:36:49", "2026-05-11T12:36:49.000Z"),
        ("2026-05-11T12:36:49Z", "2026-05-11T12:36:49.000Z"),
        ("2026-05-11T12:36Z", "2026-05-11T12:36:00.000Z"),
        ("2026-05-11T12:36:49+00:00", "2026-05-11T12:36:49.000Z"),
        ("2026-05-11T12:36:49-00:00", "2026-05-11T12:36:49.000Z"),
        ("2026-05-11T12:36:49.1", "2026-05-11T12:36:49.100Z"),
        ("2026-05-11T12:36:49.9999999999", "2026-05-11T12:36:49.999Z"),
        ("2026-01-01T08:00:00.25+09:00", "2025-12-31T23:00:00.250Z"),
        ("2025-12-31 20:30-05:45", "2026-01-01T02:15:00.000Z"),
        ("2024-02-29T00:00+23:59", "2024-02-28T00:01:00.000Z"),
        ("0001-01-01", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_created_at_becomes_utc_milliseconds(created_at: str, extracted_at: str) -> None:
    assert record_of(created_at=created_at).extracted_at == extracted_at


@pytest.mark.parametrize(
    "created_at",
    [
        *("", " ", "now", "2026", "20260511", "2026-5-11", "2026-W20-1", "2026-131", "0", "2460000.5"),
        *("2026-05-11\n", " 2026-05-11", "2026-05-11 ", "2026-05-11T12:36:49Z\n", "2026-05-11T", "12:36:49"),
        *(
            "2026-02-29",
            "2026-00-10",
            "2026-13-01",
            "2026-04-31",
            "0000-01-01",
            "2100-02-29",
            "0000-01-01T00:00Z",
        ),
        *("2026-05-11T24:00", "2026-05-11T12:60", "2026-05-11T12:36:60", "2026-05-11T12", "2026-05-11T1:00"),
        *("2026-05-11T12:36:49.", "2026-05-11T12:36:49,5", "2026-05-11T12:36.5", "2026-05-11T123649"),
        *("2026-05-11t12:36", "2026-05-11T12:36z", "2026-05-11  12:36", "2026-05-11_12:36", "2026-05-11Z"),
        *("2026-05-11+09:00", "2026-05-11T12:36+9:00", "2026-05-11T12:36+0900", "2026-05-11T12:36+09"),
        *(
            "2026-05-11T12:36+24:00",
            "2026-05-11T12:36+00:60",
            "2026-05-11T12:36 +09:00",
            "2026-05-11T12:36Z+00:00",
        ),
        *(
            "2026-05-11T12:36+00:00:00",
            "2026-02-30T12:36+00:00",
            "2026-02-30T12:36+09:00",
            "+2026-05-11",
            "-026-05-11",
        ),
        *(
            "0001-01-01T00:00+00:01",
            "9999-12-31T23:59-00:01",
            "٢٠٢٦-٠٥-١١",
            "２０２６-05-11",
            "2026-05-11T12:36:49.٣",
        ),
        *("2026-05-11\x00", "2026\u221205-11"),
    ],
)
def test_what_is_no_time_is_unparseable(created_at: str) -> None:
    assert reject_of(created_at=created_at).reason == CREATED_AT_UNPARSEABLE


@pytest.mark.parametrize("created_at", [0, 20260511, 1778502000, 2460000.5, b"2026-05-11", b""])
def test_a_time_that_is_not_text_is_unparseable(created_at: Value) -> None:
    assert reject_of(created_at=created_at).reason == CREATED_AT_UNPARSEABLE


def test_a_missing_created_at_takes_the_default_verbatim() -> None:
    assert record_of(created_at=None).extracted_at == RULES.default_extracted_at


@given(
    moment=st.datetimes(),
    separator=st.sampled_from("T "),
    seconds=st.booleans(),
    fraction=st.from_regex(r"[0-9]{0,12}", fullmatch=True),
    offset=st.none() | st.just("Z") | st.integers(-1439, 1439),
)
def test_every_accepted_form_agrees_with_datetime(
    moment: datetime, separator: str, seconds: bool, fraction: str, offset: str | int | None
) -> None:
    moment = moment.replace(microsecond=0) if seconds else moment.replace(second=0, microsecond=0)
    text = moment.isoformat(separator, timespec="seconds" if seconds else "minutes")
    if seconds and fraction:
        text += f".{fraction}"
        moment = moment.replace(microsecond=int(fraction.ljust(3, "0")[:3]) * 1000)
    ahead = offset if isinstance(offset, int) else 0
    if isinstance(offset, int):
        text += f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
    elif offset is not None:
        text += offset
    try:
        expected = now_iso((moment - timedelta(minutes=ahead)).replace(tzinfo=timezone.utc))
    except OverflowError:
        expected = None
    assert parse_created_at(text) == expected


@given(st.dates())
def test_every_date_is_its_midnight(day: date) -> None:
    assert parse_created_at(day.isoformat()) == f"{day.isoformat()}T00:00:00.000Z"


@given(st.from_regex(r"[0-9]{4}-[01][0-9]-[0-3][0-9]( [0-2][0-9]:[0-6][0-9](:[0-6][0-9])?)?", fullmatch=True))
def test_digits_of_the_right_shape_are_a_time_only_if_datetime_knows_it(text: str) -> None:
    try:
        expected = now_iso(datetime.fromisoformat(text).replace(tzinfo=timezone.utc))
    except ValueError:
        expected = None
    assert parse_created_at(text) == (None if text[11:13] == "24" else expected)


def test_now_is_utc_milliseconds_of_any_time_zone() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert now_iso(datetime(2026, 5, 12, 10, 23, 45, 999_999, tokyo)) == "2026-05-12T01:23:45.999Z"
    with pytest.raises(ValueError, match="time zone"):
        now_iso(datetime(2026, 5, 12))


# --- the confidence band ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("confidence", "lower", "upper"),
    [
        (0.5, 0.45, 0.55),
        (0.9, 0.85, 0.9500000000000001),
        (0.02, 0.0, 0.07),
        (-0.0, 0.0, 0.05),
        (0, 0.0, 0.05),
        (1, 0.95, 1.0),
        ("0.5", 0.45, 0.55),
        (" +.5\n", 0.45, 0.55),
        ("5e-1", 0.45, 0.55),
        ("1.", 0.95, 1.0),
        (None, None, None),
        ("", None, None),
        ("high", None, None),
        ("0.5x", None, None),
        ("0_5", None, None),
        ("0x1", None, None),
        (".", None, None),
        ("e5", None, None),
        ("\u3000" + "0.5", None, None),
        ("٠.٥", None, None),
        ("\u0131nf", None, None),
        (b"0.5", None, None),
    ],
)
def test_the_band_is_around_the_confidence_inside_zero_and_one(
    confidence: Value, lower: float | None, upper: float | None
) -> None:
    record = record_of(confidence=confidence)
    assert repr(record[3:]) == repr((lower, upper))


@pytest.mark.parametrize(
    "confidence",
    [
        *(1.0000000000000002, -5e-324, 2, -1, 95, float("inf"), float("-inf"), float("nan")),
        *("1.5", "-0.1", "nan", "NaN", "-nan", "+INF", "infinity", " -Infinity ", "1e400", "95"),
    ],
)
def test_a_confidence_outside_zero_and_one_is_rejected(confidence: Value) -> None:
    assert reject_of(confidence=confidence).reason == CONFIDENCE_OUT_OF_RANGE


@given(confidence=st.floats(0, 1) | st.integers(0, 1), width=st.floats(0, 1))
def test_a_band_always_satisfies_the_checks_of_the_table(confidence: float, width: float) -> None:
    rules = Rules(confidence_width=width, default_extracted_at="")
    record = derive(PLAIN._replace(confidence=confidence), rules)
    assert isinstance(record, Record)
    lower, upper = record.confidence_lower, record.confidence_upper
    assert type(lower) is float and type(upper) is float
    assert 0 <= lower <= confidence <= upper <= 1


# --- rejects ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"key": BROKEN},
        {"own_url": BROKEN},
        {"own_url": " ", "source_url": BROKEN},
        {"created_at": BROKEN},
        {"confidence": BROKEN},
    ],
)
def test_text_that_is_not_utf8_is_rejected_wherever_the_record_comes_from(changes: dict[str, Any]) -> None:
    assert reject_of(**changes).reason == NOT_UTF8


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"own_url": TooLong(65_537)}, "source: 65537 bytes, at most 65536"),
        ({"own_url": " ", "source_url": TooLong(70_000)}, "source: 70000 bytes, at most 65536"),
        ({"created_at": TooLong(1_025)}, "created_at: 1025 bytes, at most 1024"),
        ({"confidence": TooLong(2**31)}, "confidence: 2147483648 bytes, at most 1024"),
        ({"created_at": TooLong(1_025), "key": None}, "created_at: 1025 bytes, at most 1024"),
    ],
)
def test_a_value_that_is_too_long_is_rejected_by_its_length_alone(changes: dict[str, Any], detail: str) -> None:
    reject = reject_of(**changes)
    assert (reject.reason, reject.detail) == (TOO_LONG, detail)


def test_a_source_that_is_not_used_may_be_too_long() -> None:
    assert record_of(own_url="own", source_url=TooLong(70_000)).source_doc == "own"


def test_a_key_that_is_not_utf8_stays_readable() -> None:
    assert reject_of(key=BROKEN) == Reject("caf\\xe9", NOT_UTF8, "key: b'caf\\xe9'")


def test_the_first_reason_in_order_is_given() -> None:
    fact = PLAIN._replace(
        key=None, own_url=b"", created_at=TooLong(2000), confidence=2, has_metadata=READS_LIKE_ANOTHER
    )
    mends: list[tuple[str, dict[str, Any]]] = [
        (TOO_LONG, {"created_at": "soon"}),
        (KEY_NOT_TEXT_OR_INTEGER, {"key": BROKEN}),
        (KEY_READS_LIKE_ANOTHER, {"has_metadata": 0}),
        (NOT_UTF8, {"key": 1}),
        (SOURCE_NOT_TEXT, {"own_url": None}),
        (CREATED_AT_UNPARSEABLE, {"created_at": None}),
        (CONFIDENCE_OUT_OF_RANGE, {"confidence": 1}),
    ]
    assert tuple(reason for reason, _ in mends) == REASONS
    for reason, mend in mends:
        outcome = derive(fact, RULES)
        assert isinstance(outcome, Reject)
        assert outcome.reason == reason
        fact = fact._replace(**mend)
    assert isinstance(derive(fact, RULES), Record)


@pytest.mark.parametrize("seen", ["x" * 10_000, "\x00" * 10_000, b"\xff" * 10_000, 7])
def test_a_detail_says_what_was_seen_and_stays_short(seen: Value) -> None:
    detail = reject_of(created_at=seen).detail
    assert detail.startswith(f"created_at: {repr(seen)[:100]}")
    assert len(detail) <= 240


# --- batches ---------------------------------------------------------------------------------------


def derive_one_by_one(facts: list[Fact], rules: Rules) -> Derivation:
    expected = Derivation()
    for fact in facts:
        outcome = derive(fact, rules)
        if stays_unchanged(fact):
            expected.unchanged += 1
        elif isinstance(outcome, Reject):
            expected.rejects.append(outcome)
        else:
            (expected.updates if fact.has_metadata else expected.inserts).append(outcome)
            expected.created_at_missing += fact.created_at is None
            expected.confidence_not_numeric += fact.confidence is not None and outcome.confidence_lower is None
    return expected


anything = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=3)
    | st.builds(NotUtf8, st.sampled_from([b"\xff", b"caf\xe9"]))
    | st.builds(TooLong, st.just(70_000))
    | st.text("\u200b\x00\ufe0fx", max_size=3)
    | st.sampled_from([b"\xff", "", " ", "\u3000", 0, 0.0, -0.0, 1, 1.0])
)
changes = st.fixed_dictionaries(
    {},
    optional={
        "key": anything,
        "own_url": st.sampled_from([None, "", " ", b"https://example.org"]) | anything,
        "source_url": st.sampled_from([None, "", " ", b"https://example.org"]) | anything,
        "created_at": st.sampled_from([None, "2026-05-11", "2026-13-01", b"2026-05-11"]) | anything,
        "confidence": st.sampled_from([None, 0.02, 0.99, 1, "0.5", "high", b"0.5", "nan", 1.5]) | anything,
        "has_metadata": st.just(1),
    },
)


def plain_but(change: dict[str, Any]) -> Fact:
    return PLAIN._replace(**change)


facts = changes.map(plain_but)


@given(facts=st.lists(facts, max_size=12), width=st.sampled_from([0.0, 0.05, 1.0]))
@example(facts=[PLAIN._replace(confidence=b"\xff"), PLAIN._replace(confidence=NotUtf8(b"\xff"))], width=0.05)
@example(facts=[PLAIN._replace(created_at=NotUtf8(b"\xff")), PLAIN._replace(created_at=b"\xff")], width=0.05)
@example(facts=[PLAIN._replace(own_url=None, source_url=None, has_metadata=1)], width=0.05)
@settings(max_examples=300)
def test_a_batch_agrees_with_its_facts_one_by_one(facts: list[Fact], width: float) -> None:
    rules = Rules(confidence_width=width, default_extracted_at=RULES.default_extracted_at)
    result = derive_batch([tuple(fact) for fact in facts], rules)  # type: ignore[misc]
    assert repr(result) == repr(derive_one_by_one(facts, rules))
    settled = len(result.inserts) + len(result.updates) + len(result.rejects) + result.unchanged
    assert settled == len(facts)


def test_a_fact_with_metadata_is_updated_and_one_without_is_inserted() -> None:
    result = derive_batch([PLAIN, PLAIN._replace(key=18, has_metadata=1)], RULES)
    assert [record.fact_id for record in result.inserts] == ["17"]
    assert [record.fact_id for record in result.updates] == ["18"]


def test_metadata_without_a_derivable_source_stays_unchanged_even_if_all_else_is_bad() -> None:
    bad = Fact(key=None, own_url=" ", source_url=None, created_at="soon", confidence=BROKEN, has_metadata=1)
    assert derive_batch([bad], RULES) == Derivation(unchanged=1)


def test_metadata_with_a_source_that_is_not_text_is_rejected() -> None:
    result = derive_batch([PLAIN._replace(own_url=b"", has_metadata=1)], RULES)
    assert [reject.reason for reject in result.rejects] == [SOURCE_NOT_TEXT]


def test_the_counters_count_written_facts_only() -> None:
    oddity = PLAIN._replace(created_at=None, confidence="high")
    unwritten = [oddity._replace(own_url=b"x"), oddity._replace(own_url="", source_url=None, has_metadata=1)]
    result = derive_batch([oddity, oddity._replace(has_metadata=1), *unwritten], RULES)
    assert (result.created_at_missing, result.confidence_not_numeric) == (2, 2)
    assert (len(result.rejects), result.unchanged) == (1, 1)


def test_a_batch_of_plain_facts_takes_the_shortcut(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_detour(*_: object) -> None:
        raise AssertionError("a plain fact left the fast path")

    monkeypatch.setattr(batch, "_settle", no_detour)
    plain = [
        PLAIN,
        PLAIN._replace(key="F-1", own_url=None, has_metadata=1),
        PLAIN._replace(own_url=None, source_url=None, created_at=None, confidence=None),
        PLAIN._replace(created_at="2026-05-11", confidence="0.5"),
    ]
    assert len(derive_batch(plain, RULES).inserts) == 3


_DAYS = ("2026-05-11", "2026-12-31", "2026-02-30", "0001-01-01", "9999-12-31")
_RESTS = ("", " 12:36", "T12:36Z", "T12:36:49.5", " 00:00:00+09:00", "T23:59-00:30", " 00:10+00:30", " 12:36:49+00:00",
          "T00:00-00:00", " 24:00", " 12:36:60", " 12:36:49 ", "x")  # fmt: skip


@given(st.permutations([day + rest for day in _DAYS for rest in _RESTS]))
def test_a_remembered_part_of_a_time_never_leaks_into_another(times: list[str]) -> None:
    rules = Rules(confidence_width=0.05, default_extracted_at="2026-01-01T00:00:00.000Z")
    batch = derive_batch([(n, "https://example.jp", None, time, None, 0) for n, time in enumerate(times)], rules)
    found = {int(record.fact_id): record.extracted_at for record in batch.inserts}
    assert found == {n: parse_created_at(time) for n, time in enumerate(times) if parse_created_at(time)}
