"""How a value of a fact is read on SQLite: never before its length is known, and whether it shows anything.

A value that is longer than it may be is neither copied nor compared: its length and type stand in the record's header,
and octet_length() and typeof() of a column read no more than that. So a value is always a column here, never a subquery
over one, and NULL is asked for by type. Only in a CASE is what follows not evaluated: both sides of an OR are.
Source: https://sqlite.org/lang_corefunc.html#octet_length. (In a column of REAL affinity, confidence as a rule, SQLite
does load what is no number before it tells the length; it goes no further than that.)

`value_parameters` gives the parameters that these expressions use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

from tasks.core import blank
from tasks.core.fact_keys import IS_TOO_LONG
from tasks.derivation.times import TICKS
from tasks.job.sections import DerivationSettings

Bound = Literal["longest_source", "longest_value"]
Reading = Callable[[str, Bound], str]
"""From a column, and what it may have at most, to what is selected of it."""

_SHOWN: Final = blank.something_shown()
_BLANK: Final = blank.characters()
LONGEST_PLAIN: Final = 1000  # bytes: the texts of a batch are put together to be decoded, which has its limits


def value_parameters(derivation: DerivationSettings) -> dict[str, Any]:
    """The parameters that stand for the rules in a statement, whichever of them it uses."""
    return {
        "longest_source": derivation.longest_source_bytes,
        "longest_value": derivation.longest_value_bytes,
        "ticks": TICKS.get(derivation.created_at_as),
        "something_shown": _SHOWN,
        "blank": _BLANK,
    }


def is_long(column: str, bound: Bound) -> str:
    """NULL for NULL. (The length of a number is that of its text, which is made for it: so not asked of a REAL.)"""
    if bound == "longest_source":
        return f"octet_length({column}) > :{bound}"
    return f"typeof({column}) IN ('text', 'blob') AND octet_length({column}) > :{bound}"


def value(column: str, bound: Bound) -> str:
    """A value as it is; one that is too long as text that is not UTF-8, so that its reader asks again for all raw."""
    return f"CASE WHEN {is_long(column, bound)} THEN CAST(x'ff' AS TEXT) ELSE {column} END"


def value_kind(column: str, bound: Bound) -> str:
    """The first half of a raw value: whether it is text, or too long."""
    return f"CASE WHEN {is_long(column, bound)} THEN {IS_TOO_LONG} ELSE typeof({column}) = 'text' END"


def value_bytes(column: str, bound: Bound) -> str:
    """The second half: the value, with text as its bytes; of one that is too long the length."""
    return (
        f"CASE WHEN {is_long(column, bound)} THEN octet_length({column}) "
        f"WHEN typeof({column}) = 'text' THEN CAST({column} AS BLOB) ELSE {column} END"
    )


def value_if_plain(column: str, bound: Bound) -> str:
    """A value as it is; a BLOB, which nothing calls plain, for one that is longer than plain ones are."""
    del bound  # a plain value is shorter than any bound may be
    return f"CASE WHEN octet_length({column}) > {LONGEST_PLAIN} THEN x'' ELSE {column} END"


def number_if_plain(column: str) -> str:
    """A number or NULL as it is; a BLOB for anything else."""
    return (
        f"CASE typeof({column}) WHEN 'real' THEN {column} WHEN 'text' THEN x'' WHEN 'blob' THEN x'' ELSE {column} END"
    )


def shows(column: str) -> str:
    """1 if the column holds a source, right or wrong, and 0 for NULL and for what is blank: derivation's rule.

    What begins with a visible ASCII character, almost everything, is known at once. GLOB and trim() take the same
    characters for blank. GLOB is fast, but reads only up to a NUL, and reads broken UTF-8 as something else; trim() is
    slow and exact, so it decides where GLOB sees nothing. It cannot remove a NUL: as JSON, those become spaces.
    """
    without_nul = (
        f"replace(replace(json_quote({column}), '\\\\', 'x'), '\\u0000', ' ') ->> '$'"  # two strokes are one, quoted
    )
    exact = f"CASE WHEN instr({column}, char(0)) THEN {without_nul} ELSE {column} END"
    of_text = (
        f"CASE WHEN octet_length({column}) > :longest_source THEN 1 "
        f"WHEN {column} COLLATE BINARY BETWEEN '!' AND '~' THEN 1 WHEN {column} GLOB :something_shown THEN 1 "
        f"WHEN octet_length(trim({column})) = 0 THEN 0 ELSE trim({exact}, :blank) <> '' END"
    )
    return f"CASE typeof({column}) WHEN 'null' THEN 0 WHEN 'text' THEN {of_text} ELSE 1 END"
