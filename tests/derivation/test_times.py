"""Times in every form that a store may have, and what is said of one that is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.clock import now_iso
from tasks.core.values import Fact, Record, Reject
from tasks.derivation.rules import Rules, derive
from tasks.derivation.times import hint_for, kind_of, parse_unix_time

RULES = Rules(confidence_width=0.05, default_extracted_at="2026-11-22T00:00:00.000Z")


@pytest.mark.parametrize(
    ("count", "ticks", "expected"),
    [
        (0, 1, "1970-01-01T00:00:00.000Z"),
        (1_778_502_000, 1, "2026-05-11T12:20:00.000Z"),
        ("1778502000", 1, "2026-05-11T12:20:00.000Z"),
        (1_778_502_000.0, 1, "2026-05-11T12:20:00.000Z"),
        (1_778_502_000.123, 1, "2026-05-11T12:20:00.123Z"),
        ("1778502000.1235", 1, "2026-05-11T12:20:00.124Z"),
        ("1778502000.1225", 1, "2026-05-11T12:20:00.122Z"),
        (1_778_502_000_123, 1000, "2026-05-11T12:20:00.123Z"),
        (-1, 1, "1969-12-31T23:59:59.000Z"),
        (-1, 1000, "1969-12-31T23:59:59.999Z"),
        (-62_135_596_800, 1, "0001-01-01T00:00:00.000Z"),
        (253_402_300_799, 1, "9999-12-31T23:59:59.000Z"),
        (253_402_300_799_999, 1000, "9999-12-31T23:59:59.999Z"),
        (-62_135_596_801, 1, None),
        (253_402_300_800, 1, None),
        (253_402_300_800_000, 1000, None),
        (2**63 - 1, 1000, None),
        (float("inf"), 1, None),
        (float("nan"), 1, None),
        *((text, 1, None) for text in ("", " 1", "1 ", "+1", "1e9", "0x1", "1_0", "1.", ".1", "١", "2026-05", "1\0")),
    ],
)
def test_a_count_is_a_time_to_the_nearest_millisecond(count: Any, ticks: int, expected: str | None) -> None:
    assert parse_unix_time(count, ticks) == expected


@given(moment=st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), ticks=st.sampled_from([1, 1000]))
def test_every_moment_comes_back_from_its_count(moment: datetime, ticks: int) -> None:
    moment = moment.replace(microsecond=0 if ticks == 1 else moment.microsecond // 1000 * 1000, tzinfo=timezone.utc)
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    count = int(Fraction((moment - epoch).days * 86_400 + (moment - epoch).seconds) * ticks)
    count += (moment - epoch).microseconds * ticks // 10**6
    assert parse_unix_time(count, ticks) == parse_unix_time(str(count), ticks) == now_iso(moment)


@pytest.mark.parametrize(
    ("created_at", "hint"),
    [
        ("20240101", "expected it as 2024-01-01"),
        ("2026-05-11T12:36:49+0900", "expected it as 2026-05-11T12:36:49+09:00"),
        ("2026-05-11T12:36:49-09", "expected it as 2026-05-11T12:36:49-09:00"),
        ("2026-05-11T12:36:49z", "expected it as 2026-05-11T12:36:49Z"),
        ("2026-05-11t12:36", "expected it as 2026-05-11T12:36"),
        ("2026-05-11 ", "expected it as 2026-05-11"),
        (1_778_502_000, "set derivation.created_at_as: unix_seconds, if all of them are"),
        ("1778502000", "set derivation.created_at_as: unix_seconds, if all of them are"),
        (1_778_502_000.5, "set derivation.created_at_as: unix_seconds, if all of them are"),
        (1_778_502_000_123, "set derivation.created_at_as: unix_milliseconds, if all of them are"),
        *((v, "expected YYYY-MM-DD, or YYYY-MM-DD HH:MM[:SS[.f]] with nothing, Z or +HH:MM behind it")
          for v in ("soon", "", "2026-02-30", "2460000.5", 7, b"2026-05-11", "2026-05-11 24:00")),
    ],
)  # fmt: skip
def test_a_rejected_time_says_what_to_do(created_at: Any, hint: str) -> None:
    assert hint_for(created_at, "text") == hint
    reject = derive(Fact(1, "https://a.test/", None, created_at, None, 0), RULES)
    assert isinstance(reject, Reject)
    assert reject.detail == f"created_at: {created_at!r} ({hint})"


@pytest.mark.parametrize("unit", ["unix_seconds", "unix_milliseconds"])
def test_a_text_time_in_a_store_of_numbers_is_rejected_with_a_hint(unit: Any) -> None:
    reject = derive(Fact(1, None, None, "2026-05-11", None, 0), replace(RULES, created_at_as=unit))
    assert isinstance(reject, Reject)
    assert "set derivation.created_at_as: text" in reject.detail
    assert isinstance(derive(Fact(1, None, None, 1_778_502_000, None, 0), replace(RULES, created_at_as=unit)), Record)


@given(st.none() | st.integers() | st.floats() | st.text() | st.binary())
def test_any_value_has_a_kind_and_a_hint(created_at: Any) -> None:
    assert kind_of(created_at) in (None, "text", "unix_seconds", "unix_milliseconds")
    assert len(hint_for(created_at, "text")) < 110


@pytest.mark.parametrize("declared", ["created_at INTEGER", "created_at TEXT", "created_at REAL", "created_at"])
@pytest.mark.parametrize("mode", ["unsigned", "signed", "dry run"])
def test_a_store_whose_times_are_numbers_is_attested_once_the_job_file_says_so(
    store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch, declared: str, mode: str
) -> None:
    if mode == "signed":
        monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", "11" * 32)
    made = store(lambda schema: schema.change_column("am_entity_facts", "created_at", declared))
    made.add_facts({"id": n, "source_url": "https://a.test/", "created_at": 1_778_502_000 + n} for n in range(9))
    made.add_fact(9, source_url="https://a.test/", created_at="soon")
    config = settings(made, small=True, derivation={"created_at_as": "unix_seconds"})
    report = run(config, dry_run=mode == "dry run")
    assert (report["rows"]["inserted"], report["rejects"]) == (9, {"created_at_unparseable": 1})
    if mode != "dry run":
        found = {key: row["extracted_at"] for key, row in made.metadata().items()}
        assert found == {str(n): f"2026-05-11T12:20:0{n}.000Z" for n in range(9)}
