"""Making a sample once: the database, then a stamp beside it that says what it was made with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.core.durable import read_json, to_text, write_durably
from tasks.core.errors import NOTHING_WRITTEN, SampleError
from tasks.sample.database import SampleSummary, build_sample, load_facts_file


@dataclass(frozen=True, kw_only=True)
class SampleOrder:
    """`facts` generated facts of a `profile`, or the facts of `facts_file` where it is given."""

    facts: int
    profile: str
    facts_file: str = ""

    def made_with(self) -> dict[str, Any]:
        """What decides the content."""
        if self.facts_file:
            return {"facts_file": self.facts_file}
        return {"facts": self.facts, "profile": self.profile}


def is_made(database: Path, order: SampleOrder) -> bool:
    """Whether the database is there and its stamp says that it was made by this order."""
    stamp = read_json(_stamp_of(database), root=None)
    return database.exists() and stamp is not None and stamp.get("made_with") == order.made_with()


def make_sample(database: Path, order: SampleOrder) -> str:
    """Make the database, then its stamp. Returns one line about it.

    Raises SampleError if anything is there already, which is never overwritten, or if the order cannot be made.
    """
    if os.path.lexists(database):
        raise SampleError(
            f"{database} already exists and is not this sample; it is never overwritten",
            hint="Set AUTONOMATH_DB_PATH to a new path, or move the file away",
            written=NOTHING_WRITTEN,
        )
    if order.facts_file:
        summary = load_facts_file(database, Path(order.facts_file))
    else:
        summary = build_sample(database, facts=order.facts, profile=order.profile)
    write_durably(_stamp_of(database), to_text({"made_with": order.made_with(), **vars(summary)}), root=None)
    return _told(database, summary)


def _stamp_of(database: Path) -> Path:
    return Path(f"{database}.sample.json")


def _told(database: Path, summary: SampleSummary) -> str:
    outcomes = ", ".join(f"{name} {count}" for name, count in summary.expected.items() if isinstance(count, int))
    return f"{database}: {summary.facts} facts, {summary.sources} sources. A first run will find {outcomes}."
