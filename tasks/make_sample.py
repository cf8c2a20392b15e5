"""MakeSample: a database to try the job on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import luigi

from tasks.core.durable import read_json, to_text, write_durably
from tasks.core.errors import SampleError
from tasks.core.terminal import tell
from tasks.luigi_support.base_task import JobTask
from tasks.luigi_support.parameters import Text, WholeNumber
from tasks.sample.database import DEFAULT_FACTS, SampleSummary, build_sample, load_facts_file
from tasks.stores.open import file_of


class MakeSample(JobTask):
    """Make the job file's database: `facts` generated facts, or those of `facts_file` where it is given.

    Complete when the database is there and `<database>.sample.json` says that it was made with the same
    parameters. Any other file at that path is refused, never overwritten.
    """

    facts: luigi.Parameter[int] = WholeNumber(default=DEFAULT_FACTS, description="how many facts to generate")
    facts_file: luigi.Parameter[str] = Text(
        default="", description="JSON lines, plain or gzipped, to load instead of generated facts"
    )
    profile: luigi.Parameter[str] = Text(
        default="clustered", description="where sources and dates lie: clustered or scattered"
    )

    def is_done(self) -> bool:
        """Whether the database is there and was made with these parameters."""
        database = self._database()
        stamp = read_json(_stamp_of(database), root=None)
        return database.exists() and stamp is not None and stamp.get("made_with") == self._made_with()

    def run(self) -> None:
        """Make the database, then its stamp, then print one line. Raises SampleError."""
        database = self._database()
        if os.path.lexists(database):
            raise SampleError(
                f"{database} already exists and is not this sample; it is never overwritten. Set "
                f"AUTONOMATH_DB_PATH to a new path, or move the file away. Nothing was written."
            )
        if self.facts_file:
            summary = load_facts_file(database, Path(self.facts_file))
        else:
            summary = build_sample(database, facts=self.facts, profile=self.profile)
        write_durably(_stamp_of(database), to_text({"made_with": self._made_with(), **vars(summary)}), root=None)
        tell(_told(database, summary))

    def _database(self) -> Path:
        return file_of(self.settings())

    def _made_with(self) -> dict[str, Any]:
        """The parameters that decide the content."""
        if self.facts_file:
            return {"facts_file": self.facts_file}
        return {"facts": self.facts, "profile": self.profile}


def _stamp_of(database: Path) -> Path:
    return Path(f"{database}.sample.json")


def _told(database: Path, summary: SampleSummary) -> str:
    outcomes = ", ".join(f"{name} {count}" for name, count in summary.expected.items() if isinstance(count, int))
    return f"{database}: {summary.facts} facts, {summary.sources} sources. A first run will find {outcomes}."
