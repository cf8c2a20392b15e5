"""The one place that asks what time it is; everything else is told."""

from __future__ import annotations

from datetime import datetime, timezone

from tasks.derivation.rules import now_iso


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


def now_text() -> str:
    """Now as ISO-8601 UTC with milliseconds."""
    return now_iso(utc_now())
