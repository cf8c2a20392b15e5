"""Text from outside on its way to a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` on one line, with an escape for every character that a terminal would obey instead of showing."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
