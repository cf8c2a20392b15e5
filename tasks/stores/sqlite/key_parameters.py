"""Fact keys as parameters of a statement, and rows whose values come in pairs, back as values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tasks.core.fact_keys import Key, decoded, decoded_pairs
from tasks.core.values import NotUtf8


def bound(name: str, key: Key) -> dict[str, Any]:
    """A key as the parameters of its placeholder; text that is not UTF-8 travels as bytes with a flag."""
    if isinstance(key, NotUtf8):
        return {name: bytes(key), f"{name}_is_text": 1}
    return {name: key, f"{name}_is_text": 0}


def range_bounds(after: Key, through: Key) -> tuple[str, dict[str, Any]]:
    """The ending of a statement's name for a range, and its parameters."""
    through_values = bound("through", through)
    return ("_first", through_values) if after is None else ("", {**bound("after", after), **through_values})


def decode_pairs(row: Sequence[Any]) -> Iterator[Key]:
    """(is text, value) pairs, back to values; of columns that are read however long they are."""
    return map(decoded, row[::2], row[1::2])


def decode_row(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """(kind, value) pairs and a last plain column, back to values."""
    return (*decoded_pairs(row[:-1]), row[-1])
