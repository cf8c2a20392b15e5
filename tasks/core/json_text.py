"""JSON for people and programs at once: a terminal obeys nothing in it, and Japanese stays Japanese."""

from __future__ import annotations

import json
import re
from typing import Any, Final

# DEL and C1, and of Unicode 16 every format character (Cf: those that turn the direction of text, and those that are
# not seen), both separators of lines and paragraphs, and halves of pairs, which are no text. JSON itself escapes what
# lies below U+0020.
_OBEYED: Final = re.compile(
    "[\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bcaf"
    "\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
)


def json_text(content: Any, *, indent: int | None = None) -> str:
    """`content` as JSON that says the same to every reader: keys in their order, letters as they are.

    Control and format characters are escaped as `\\uXXXX`, beyond the basic plane as a pair of surrogates.
    """
    return _OBEYED.sub(_escaped, json.dumps(content, ensure_ascii=False, indent=indent))


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
