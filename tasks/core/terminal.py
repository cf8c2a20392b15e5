"""Text from outside on its way to a terminal."""

from __future__ import annotations

import re
from typing import Final

_KEY: Final = re.compile("[0-9A-Fa-f]{64,}")


def printable(text: str) -> str:
    """`text` on one line, with an escape for every character that a terminal would obey instead of showing."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """As `printable`, but for a text of several lines, which keeps its line feeds."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def tell(text: str) -> None:
    """Print a text of ours in which values from outside may stand."""
    print(printable_lines(text), flush=True)


def holds_key(text: str) -> bool:
    """Whether a text holds 64 hex digits in a row: perhaps a private key, which is never shown."""
    return _KEY.search(text) is not None


def without_keys(text: str) -> str:
    """`text` with words in place of what might be a private key."""
    return _KEY.sub("(64 hex digits, not shown)", text)


def cut(value: object, most: int = 80) -> str:
    """A value from outside for a message: on one line, short, and no key in it."""
    shown = without_keys(repr(value))
    return shown if len(shown) <= most + 2 else f"{shown[:most]}…"
