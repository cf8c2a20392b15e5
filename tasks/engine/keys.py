"""Keys of facts as values: bounds of chunks and cursors.

A key is what SQLite holds: an integer, text, and in odd tables a REAL, a BLOB or text that is not UTF-8.
`None` as a lower bound means "from the very first row". SQLite orders them all; Python never compares them.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from tasks.engine.derivation import NotUtf8

Key: TypeAlias = int | float | str | bytes | NotUtf8 | None


def to_json(key: Key) -> Any:
    """A key, or any other value of SQLite's, as JSON: what JSON has no word for becomes an object with one member."""
    if isinstance(key, NotUtf8):
        return {"text_hex": key.hex()}
    if isinstance(key, bytes):
        return {"blob_hex": key.hex()}
    if isinstance(key, float) and not math.isfinite(key):
        return {"real": repr(key)}
    return key


def from_json(value: Any) -> Key:
    """The inverse of `to_json`. Raises ValueError for anything that `to_json` never gives."""
    if isinstance(value, dict) and len(value) == 1:
        kind, digits = next(iter(value.items()))
        if kind == "text_hex":
            return NotUtf8(bytes.fromhex(digits))
        if kind == "blob_hex":
            return bytes.fromhex(digits)
        if kind == "real":
            return float(digits)
    if value is None or (isinstance(value, (int, float, str)) and not isinstance(value, bool)):
        return value
    raise ValueError(f"not a key: {value!r}")


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
