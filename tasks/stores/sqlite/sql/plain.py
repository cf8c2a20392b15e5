"""Which facts are plain, as SQL, and what becomes of them: those that need not be read to be settled.

What changes here has to change in its twin in Python too, tasks/derivation/rules.py, which settles every fact.

A fact is plain if the shape of its values alone promises that it is attested, not rejected: a key that is an
integer or text, a source that begins with a visible ASCII character, a time to the second in one of the usual
spellings, a number for a confidence. Whether its texts are UTF-8 is the one thing that SQL cannot say; the
reader of these expressions has to decode them. Everything else, right or wrong, is for derivation.rules to judge.

A value, other than a key, that is longer than a plain one may be reaches these expressions as a BLOB
(see bounds.py), and is not plain for that.

Every `…_is_plain` is true only if it is sure; it may be false or NULL for a fact that is all right. Every
`…_of_plain` gives to the bit what `derive` gives for a plain fact, and anything for another. Both are held against
`derive` by tests/stores/sqlite/test_plain.py.
"""

from __future__ import annotations

from typing import Final

from tasks.derivation.times import LAST_SECOND
from tasks.stores.sqlite.sql.bounds import LONGEST_PLAIN

_DATE_AND_TIME: Final = 19  # YYYY-MM-DD HH:MM:SS
_FIRST_DAY: Final = "0001-01-01"  # the calendar of derivation has no year 0

_FRACTIONS: Final = {
    20: "= 'Z'",
    23: "GLOB '.[0-9][0-9][0-9]'",
    24: "GLOB '.[0-9][0-9][0-9]Z'",
    25: "= '+00:00'",
    26: "GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]'",
    27: "GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]Z'",
    32: "GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]+00:00'",
}
"""Bytes of a whole time -> what may follow its seconds."""


def key_is_plain(key: str) -> str:
    return f"(typeof({key}) = 'integer' OR (typeof({key}) = 'text' AND octet_length({key}) <= {LONGEST_PLAIN}))"


def key_if_plain(key: str) -> str:
    """A key as it is; NULL for one that is too long to be plain, so that it is not staged."""
    return f"CASE WHEN octet_length({key}) <= {LONGEST_PLAIN} THEN {key} END"


def source_is_plain(source: str) -> str:
    """For text that begins visibly, and for no source at all. Numbers sort before text, BLOBs after it."""
    return f"coalesce({source}, '!') COLLATE BINARY BETWEEN '!' AND '~'"


def time_is_plain(created_at: str) -> str:
    """By `:ticks` a second of a clock that counts, or for text where there is none.

    (Not a CASE: what stands in one is a value, and of a value's OR SQLite evaluates both sides.)
    """
    text, count = _text_is_plain(created_at), _count_is_plain(created_at)
    return f"((:ticks IS NULL AND {text}) OR (:ticks IS NOT NULL AND {count}))"


def extracted_at_of_plain(created_at: str) -> str:
    """What `derive` makes of a plain time; `:default_extracted_at` is for facts without one."""
    return (
        f"CASE WHEN {created_at} IS NULL THEN :default_extracted_at "
        f"WHEN :ticks IS NULL THEN {_extracted_at_of_text(created_at)} ELSE {_extracted_at_of_count(created_at)} END"
    )


def _count_is_plain(created_at: str) -> str:
    """For NULL, and for an integer, or its text, from 1970 to the last day that there is."""
    count = f"CAST({created_at} AS INTEGER)"
    return (
        f"({created_at} IS NULL OR (typeof({created_at}) IN ('integer', 'text') "
        f"AND CAST({count} AS TEXT) = CAST({created_at} AS TEXT) COLLATE BINARY "
        f"AND {count} BETWEEN 0 AND {LAST_SECOND} * :ticks))"
    )


def _extracted_at_of_count(created_at: str) -> str:
    count = f"CAST({created_at} AS INTEGER)"
    return (
        f"strftime('%Y-%m-%dT%H:%M:%S', {count} / :ticks, 'unixepoch') "
        f"|| format('.%03dZ', {count} % :ticks * (1000 / :ticks))"
    )


def _text_is_plain(created_at: str) -> str:
    """For NULL, and for text that SQLite reads as a time and writes back unchanged.

    That is no leap second, no 24 o'clock, no 30 February: SQLite moves those on. Its own spelling is tried first, as
    the commonest and cheapest. In the others the bytes are counted because most functions stop at a NUL.
    """
    start = f"substr({created_at}, 1, {_DATE_AND_TIME})"
    rest = f"substr({created_at}, {_DATE_AND_TIME + 1})"
    endings = " ".join(f"WHEN {length} THEN {rest} {test}" for length, test in _FRACTIONS.items())
    return (
        f"({created_at} IS NULL "
        f"OR (datetime({created_at}) = {created_at} COLLATE BINARY AND {created_at} >= '{_FIRST_DAY}' COLLATE BINARY) "
        f"OR (typeof({created_at}) = 'text' "
        f"AND datetime({start}) = replace({start}, 'T', ' ') AND {start} >= '{_FIRST_DAY}' "
        f"AND CASE octet_length({created_at}) WHEN {_DATE_AND_TIME} THEN 1 {endings} ELSE 0 END))"
    )


def _extracted_at_of_text(created_at: str) -> str:
    seconds, fraction = _DATE_AND_TIME, f"substr({created_at}, {_DATE_AND_TIME + 1}, 4)"
    start = f"replace(substr({created_at}, 1, {seconds}), ' ', 'T')"
    return (
        f"CASE WHEN octet_length({created_at}) = {seconds} THEN replace({created_at}, ' ', 'T') || '.000Z' "
        f"WHEN {fraction} LIKE '.%' THEN {start} || {fraction} || 'Z' ELSE {start} || '.000Z' END"
    )


def confidence_is_plain(confidence: str) -> str:
    return (
        f"({confidence} IS NULL OR (typeof({confidence}) IN ('real', 'integer') AND {confidence} BETWEEN 0.0 AND 1.0))"
    )


def lower_of_plain(confidence: str) -> str:
    """The lower bound of a plain confidence, NULL for none; `:confidence_width` is the band's half."""
    return f"max(0.0, {confidence} - :confidence_width)"


def upper_of_plain(confidence: str) -> str:
    """The upper bound of a plain confidence, NULL for none."""
    return f"min(1.0, {confidence} + :confidence_width)"
