"""What is blank: text that shows nothing at all.

A text is blank if each of its code points has one of these properties, or there is none:

    White_Space                     spaces and line ends
    General_Category=Cc             control characters, NUL among them
    General_Category=Cf             format characters
    Default_Ignorable_Code_Point    shown as nothing where a font does not know better, variation selectors among them
    U+2800                          the Braille pattern without a dot

The ranges stand here, and are not asked of `unicodedata`, so that every Python attests the same.
Source: Unicode 17.0.0, https://www.unicode.org/Public/17.0.0/ucd/: PropList.txt, DerivedCoreProperties.txt and
extracted/DerivedGeneralCategory.txt.
"""

from __future__ import annotations

from typing import Final

RANGES: Final = (
    (0x0000, 0x0020), (0x007F, 0x00A0), (0x00AD, 0x00AD), (0x034F, 0x034F), (0x0600, 0x0605), (0x061C, 0x061C),
    (0x06DD, 0x06DD), (0x070F, 0x070F), (0x0890, 0x0891), (0x08E2, 0x08E2), (0x115F, 0x1160), (0x1680, 0x1680),
    (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2000, 0x200F), (0x2028, 0x202F), (0x205F, 0x206F), (0x2800, 0x2800),
    (0x3000, 0x3000), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB),
    (0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x13430, 0x1343F), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)  # fmt: skip
"""First and last code point of every stretch, in order."""

BLANK: Final = frozenset(chr(code) for first, last in RANGES for code in range(first, last + 1))
"""Every character that shows nothing."""


def is_blank(text: str) -> bool:
    """Whether `text` shows nothing: it is empty, or has no character but those of BLANK."""
    return not text or (text[0] in BLANK and BLANK.issuperset(text))


def characters() -> str:
    """BLANK but for NUL, the commonest first: what SQL's `trim(x, …)` has to remove. (Its lists end at a NUL.)"""
    return " \n\t\r" + "".join(sorted(BLANK - set(" \n\t\r\0")))


def something_shown() -> str:
    """A pattern for SQL's GLOB, which ends at a NUL as well: text in which some character is not blank."""
    stretches = (f"{chr(max(1, first))}-{chr(last)}" for first, last in RANGES)
    return f"*[^{''.join(stretches)}]*"
