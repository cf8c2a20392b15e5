"""What is blank, in Python and in SQL alike."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from typing import Any

import apsw
import apsw.unicode
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.core.blank import BLANK, RANGES, is_blank
from tasks.job.sections import DerivationSettings
from tasks.stores.sqlite.sql.bounds import shows, value_parameters

PARAMETERS = value_parameters(DerivationSettings())
NOT_SURROGATES = [c for c in map(chr, range(sys.maxunicode + 1)) if not 0xD800 <= ord(c) <= 0xDFFF]
IGNORABLE_ONLY = {0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2065, 0x2800, 0x3164, 0xFFA0}
IGNORABLE_STRETCHES = [(0x180B, 0x180F), (0xFE00, 0xFE0F), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF)]


@pytest.fixture(scope="module")
def shown() -> Iterator[Any]:
    """`shown(value)` is what SQL makes of a value that stands in a column."""
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute("CREATE TABLE given (value)")

        def ask(value: Any, *, is_text: bool = False) -> Any:
            connection.execute("DELETE FROM given")
            connection.execute(f"INSERT INTO given VALUES ({'CAST(? AS TEXT)' if is_text else '?'})", (value,))
            return connection.execute(f"SELECT {shows('value')} FROM given", PARAMETERS).get

        yield ask


def test_the_ranges_are_in_order_and_apart() -> None:
    ends = [code for stretch in RANGES for code in stretch]
    assert ends == sorted(ends)
    assert all(first > last + 1 for (_, last), (first, _) in pairwise(RANGES))


@pytest.mark.parametrize("category", [unicodedata.category, apsw.unicode.category])
def test_white_space_controls_and_formats_are_blank_whichever_unicode_is_asked(category: Any) -> None:
    missing = [c for c in NOT_SURROGATES if (c.isspace() or category(c) in ("Cc", "Cf")) and c not in BLANK]
    assert missing == []


def test_all_else_that_is_blank_is_ignorable_by_default_or_the_empty_braille_pattern() -> None:
    others = {ord(c) for c in BLANK if not c.isspace() and apsw.unicode.category(c) not in ("Cc", "Cf")}
    stretches = {code for first, last in IGNORABLE_STRETCHES for code in range(first, last + 1)}
    assert others - stretches == IGNORABLE_ONLY
    assert stretches <= set(map(ord, BLANK))


def test_sql_and_python_agree_on_every_code_point() -> None:
    """Alone, and after a blank that is not ASCII, so that neither is judged by its first byte."""
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute("CREATE TABLE given (value)")
        for before in ("", "\u200b"):
            connection.execute("DELETE FROM given")
            with connection:
                connection.executemany("INSERT INTO given VALUES (?)", ((before + c,) for c in NOT_SURROGATES))
            sql = f"SELECT value FROM given WHERE NOT ({shows('value')}) ORDER BY rowid"
            found = [text for (text,) in connection.execute(sql, PARAMETERS)]
            assert found == [before + c for c in NOT_SURROGATES if is_blank(before + c)]
            assert len(found) == len(BLANK)


SAMPLE = (
    "x~! \t\n\0\x01\x1f\x7f\x85\xa0\xad\\\"'u000/出\u034f\u200b\u2800\u3000\u3164\ufe0f\ufeff\ufffb\U000e0000\U000e0fff"
)


@given(st.text(SAMPLE) | st.text(sorted(BLANK)) | st.text())
@example("\0")
@example("\0" * 3 + " \0\u200b")
@example("\0\\u0000")
@example("\0\0x")
@example(" \0\ufe0f\0\\")
def test_sql_and_python_agree_on_every_text(shown: Any, text: str) -> None:
    assert bool(shown(text)) == (not is_blank(text)) == bool("".join(c for c in text if c not in BLANK))


BROKEN = [b"\xff", b"\x85", b"\xad", b" \xa0", b"\xe0\x82\xa0", b"\xe2\x80", b"\xc2", b"\xf8"]
BROKEN += [b"\xe2\x80\x8b\xad", b"\0\x85", b" \0\xe2\x80"]


@pytest.mark.parametrize("text", BROKEN)
def test_text_that_is_not_utf8_is_never_blank(shown: Any, text: bytes) -> None:
    """Whatever a lenient decoder would make of it: it is to be rejected, not passed over."""
    assert shown(text, is_text=True)


@pytest.mark.parametrize(("value", "shows_something"), [(None, 0), (0, 1), (1.5, 1), (b"", 1), (b"\0", 1)])
def test_only_text_can_be_blank(shown: Any, value: Any, shows_something: int) -> None:
    assert shown(value) == shows_something


HIDDEN = ["\u200b", "\ufeff", "\xad", "\u2060", "\u2800", "\u3164", "\0", "\0\0 \u200b", "\ufe0f", "\U000e0100", ""]


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("mode", ["live", "dry run"])
def test_a_source_that_shows_nothing_is_none_and_hides_none(
    store: Any, settings: Any, run: Any, hidden: str, mode: str
) -> None:
    made = store()
    made.add_source(1, "https://good.test/")
    made.add_source(2, hidden)
    made.add_facts([
        {"id": 1, "source_url": hidden, "source_id": 1}, {"id": 2, "source_url": hidden}, {"id": 3, "source_id": 2},
        {"id": 4, "source_url": hidden, "source_id": 2}, {"id": 5, "source_url": hidden, "source_id": 1},
    ])  # fmt: skip
    made.add_metadata("4")
    made.add_metadata("5")
    report = run(settings(made), dry_run=mode == "dry run")
    assert report["rows"] == {"eligible": 5, "inserted": 3, "updated": 1, "unchanged": 1, "rejected": 0}
    if mode == "live":
        found = {key: row["source_doc"] for key, row in made.metadata().items()}
        good = "https://good.test/"
        assert found == {"1": good, "2": None, "3": None, "4": None, "5": good}
        assert report["remaining"] == 0
        again = run(settings(made), "run-2")
        assert again["rows"] == {"eligible": 5, "inserted": 0, "updated": 0, "unchanged": 5, "rejected": 0}


@pytest.mark.parametrize("max_rows", [None, 10])
@pytest.mark.parametrize("source_doc", ["", " ", "\u200b", "\0"])
def test_what_was_attested_is_never_judged_blank(
    store: Any, settings: Any, run: Any, source_doc: str, max_rows: int | None
) -> None:
    """Only NULL is no source there: the text was signed as it is, and is not replaced in silence."""
    made = store()
    made.add_fact(1, source_url="https://a.test/")
    made.add_metadata("1", source_doc)
    report = run(settings(made), max_rows=max_rows)
    assert (report["rows"]["updated"], report["remaining"], made.log()) == (0, 0, [])
    assert made.metadata()["1"]["source_doc"] == source_doc
