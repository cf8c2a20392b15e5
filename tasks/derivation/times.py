"""When a fact was extracted: `created_at` as ISO-8601 UTC with milliseconds.

    text               a date, or a date and a time: see `parse_created_at`
    unix_seconds       a number of seconds since 1970-01-01 00:00 UTC, or the text of one
    unix_milliseconds  the same in milliseconds

Which of them a store means is said in the job file, never guessed: 20240101 is both a day and a second.
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timedelta, timezone
from fractions import Fraction
from typing import Final, Literal

CreatedAtAs = Literal["text", "unix_seconds", "unix_milliseconds"]

TICKS: Final[dict[CreatedAtAs, int]] = {"unix_seconds": 1, "unix_milliseconds": 1000}
"""Ticks a second of the clocks that count."""

LAST_SECOND: Final = 253_402_300_799
"""9999-12-31T23:59:59Z. The first is FIRST_SECOND, 0001-01-01."""

FIRST_SECOND: Final = -62_135_596_800

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_CREATED_AT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ]((?:[01][0-9]|2[0-3]):[0-5][0-9])"
    r"(?::([0-5][0-9])(?:\.([0-9]+))?)?"
    r"(?:Z|([+-])((?:[01][0-9]|2[0-3]):[0-5][0-9]))?"
    r")?"
)
_DECIMAL = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?")
_COMPACT_DAY = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
_COMPACT_OFFSET = re.compile(r"(.*[+-][0-9]{2})([0-9]{2})?")
_SECONDS_NOW = range(10**8, 10**11)  # 1973 to 5138: what can only have been meant as seconds


def parse_created_at(text: str) -> str | None:
    """`text` as ISO-8601 UTC milliseconds; None unless all of it is a date or a time that exists.

    Taken: `YYYY-MM-DD`, then optionally `T` or a space, `HH:MM`, `:SS`, `.` and any number of
    digits (truncated), and `Z` or `+HH:MM` or `-HH:MM`; without an offset it is UTC. Not taken:
    blanks around it, hour 24, second 60, and what falls outside the years 1 to 9999 in UTC.
    """
    match = _CREATED_AT.fullmatch(text)
    if match is None:
        return None
    day, minute, second, fraction, sign, offset = match.groups()
    try:
        if offset is None or offset == "00:00":
            date.fromisoformat(day)
        else:
            day, minute = _to_utc(day, minute, sign, offset)
    except (ValueError, OverflowError):
        return None
    milliseconds = "000" if fraction is None else f"{fraction}00"[:3]
    return f"{day}T{minute or '00:00'}:{second or '00'}.{milliseconds}Z"


def _to_utc(day: str, minute: str, sign: str, offset: str) -> tuple[str, str]:
    """A local day and minute in UTC. ValueError or OverflowError if there is no such time."""
    ahead = timedelta(hours=int(offset[:2]), minutes=int(offset[3:]))
    local = datetime.fromisoformat(f"{day} {minute}")
    utc = local - ahead if sign == "+" else local + ahead
    utc_day, _, utc_minute = utc.isoformat(timespec="minutes").partition("T")
    return utc_day, utc_minute


def parse_unix_time(created_at: float | str, ticks: int) -> str | None:
    """A count of `ticks` a second as ISO-8601 UTC milliseconds; None if it is no number, or beyond the years 1 to 9999.

    Exact: a fraction goes to the nearest millisecond, halves to the even one. Text is a number if all of it is decimal
    digits, with a minus before or a point between them.
    """
    if isinstance(created_at, str):
        if not _DECIMAL.fullmatch(created_at):
            return None
    elif not math.isfinite(created_at):
        return None
    milliseconds = round(Fraction(created_at) * 1000 / ticks)
    if not FIRST_SECOND * 1000 <= milliseconds < (LAST_SECOND + 1) * 1000:
        return None
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def kind_of(created_at: object) -> CreatedAtAs | None:
    """What a value looks like: one of the three, or None for what is none of them, or could be anything."""
    if isinstance(created_at, str) and parse_created_at(created_at):
        return "text"
    if not isinstance(created_at, (int, float, str)):
        return None
    seconds = parse_unix_time(created_at, 1) and math.floor(float(created_at))
    if seconds and seconds in _SECONDS_NOW:
        return "unix_seconds"
    milliseconds = parse_unix_time(created_at, 1000) and math.floor(float(created_at) / 1000)
    return "unix_milliseconds" if milliseconds and milliseconds in _SECONDS_NOW else None


def hint_for(created_at: object, created_at_as: CreatedAtAs) -> str:
    """What to do about a `created_at` that is no time."""
    kind = kind_of(created_at)
    if kind is not None and kind != created_at_as:
        return f"set derivation.created_at_as: {kind}, if all of them are"
    if created_at_as != "text":
        return "expected a number, of a time in the years 1 to 9999"
    spelling = _nearest_spelling(created_at) if isinstance(created_at, str) else None
    if spelling is not None:
        return f"expected it as {spelling}"
    return "expected YYYY-MM-DD, or YYYY-MM-DD HH:MM[:SS[.f]] with nothing, Z or +HH:MM behind it"


def _nearest_spelling(text: str) -> str | None:
    """The same time as it is taken, where one slip of the usual kinds is all that is wrong."""
    capital = text.strip().replace("t", "T").replace("z", "Z")
    guesses = [text.strip(), capital]
    if day := _COMPACT_DAY.fullmatch(capital):
        guesses.append("-".join(day.groups()))
    if offset := _COMPACT_OFFSET.fullmatch(capital):
        guesses.append(f"{offset[1]}:{offset[2] or '00'}")
    return next((guess for guess in guesses if parse_created_at(guess)), None)
