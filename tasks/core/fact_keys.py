"""Keys of facts as values: bounds of chunks and cursors.

A key is what a column can hold: an integer, text, and in odd tables a REAL, a BLOB or text that is not UTF-8.
`None` as a lower bound means "from the very first row". A store orders them all; Python compares them only to hold a
plan against itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

from tasks.core.values import NotUtf8, TooLong, Value

Key: TypeAlias = int | float | str | bytes | NotUtf8 | None


def to_json(key: Key) -> Any:
    """A key, or any other value of a column, as JSON: what JSON has no word for becomes an object with one member."""
    if isinstance(key, NotUtf8):
        return {"text_hex": key.hex()}
    if isinstance(key, bytes):
        return {"blob_hex": key.hex()}
    if isinstance(key, float) and not math.isfinite(key):
        return {"real": repr(key)}
    return key


def from_json(value: Any) -> Key:
    """The inverse of `to_json`. Raises ValueError for anything that `to_json` never gives, and that no column holds."""
    if isinstance(value, dict) and len(value) == 1:
        kind, digits = next(iter(value.items()))
        decode = _OBJECTS.get(kind) if isinstance(digits, str) else None
        if decode is not None:
            with suppress(KeyError):
                return decode(digits)
    if value is None or _is_plain_key(value):
        return value  # type: ignore[no-any-return]
    raise ValueError(f"not a key: {str(value)[:_SHOWN]!a}")


_SHOWN = 40
_OBJECTS: Final[dict[str, Callable[[str], Key]]] = {
    "text_hex": lambda digits: NotUtf8(bytes.fromhex(digits)),
    "blob_hex": bytes.fromhex,
    "real": lambda text: {"inf": math.inf, "-inf": -math.inf}[text],
}
_SURROGATE = re.compile("[\ud800-\udfff]")


def _is_plain_key(value: Any) -> bool:
    """64 bits, no NaN (a column makes it NULL), and no half of a surrogate pair, which UTF-8 cannot spell."""
    if isinstance(value, str):
        return _SURROGATE.search(value) is None
    if isinstance(value, float):
        return not math.isnan(value)
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def is_before(one: Key, other: Key) -> bool:
    """Whether a store sorts `one` before `other`: NULL, numbers, text by its bytes, BLOBs."""
    return key_order(one) < key_order(other)


def key_order(key: Key) -> tuple[int, Any]:
    """What to sort keys by, to have them in the order of a store."""
    if key is None:
        return (0, 0)
    if isinstance(key, (int, float)):
        return (1, key)
    if isinstance(key, str):
        return (2, key.encode())
    return (2 if isinstance(key, NotUtf8) else 3, bytes(key))


def describe(key: Key, *, first: str = "start") -> str:
    """A key for a message: `1642117`, `'事実-7'`, `x'00ff'`; `first` for no key."""
    if key is None:
        return first
    if isinstance(key, bytes):
        return f"x'{key.hex()}'"
    return repr(key)


def decoded(is_text: int, value: Any) -> Key:
    """A key read as (is it text, value with text as its bytes), the form that no text can break."""
    if not is_text or value is None:
        return value  # type: ignore[no-any-return]
    try:
        return bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        return NotUtf8(value)


IS_TOO_LONG = 2
"""What is said in the place of `is_text` of a value that is too long to be read; its length comes in its place."""


def decoded_value(kind: int, value: Any) -> Value:
    """The same for any value of a fact, which may be too long to be read."""
    return TooLong(int(value)) if kind == IS_TOO_LONG else decoded(kind, value)


def decoded_pairs(row: Sequence[Any]) -> Iterator[Value]:
    """The same for a row of (kind, value) pairs."""
    return map(decoded_value, row[::2], row[1::2])


def ids_in_order(values: Iterable[object]) -> list[str]:
    """Those of `values` that can be fact ids, as text, each once, in order: text and whole numbers.

    A text alone is one id, not its characters. The empty text is an id like any other.
    """
    values = (values,) if isinstance(values, str) else values
    found = (str(value) for value in values if isinstance(value, (str, int)) and not isinstance(value, bool))
    return [fact_id for fact_id in dict.fromkeys(found) if _is_unicode(fact_id)]


def _is_unicode(text: str) -> bool:
    """A lone surrogate can stand in a Python text, and in no database."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
