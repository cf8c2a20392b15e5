"""The one place that asks what time it is; everything else is told."""

from __future__ import annotations

from datetime import datetime, timezone


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


def now_text() -> str:
    """Now as ISO-8601 UTC with milliseconds."""
    return now_iso(utc_now())


def now_iso(now: datetime) -> str:
    """`now` as ISO-8601 UTC with milliseconds (truncated), such as `2026-05-12T01:23:45.000Z`.

    Raises ValueError if `now` does not know its time zone.
    """
    if now.tzinfo is None:
        raise ValueError("a time without a time zone is ambiguous")
    return now.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
