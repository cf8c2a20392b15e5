"""MakeSample: a database to try the job on."""

from __future__ import annotations

import luigi

from tasks.core.terminal import tell
from tasks.luigi_support.base_task import JobTask
from tasks.luigi_support.parameters import Text, WholeNumber
from tasks.sample.database import DEFAULT_FACTS
from tasks.sample.making import SampleOrder, is_made, make_sample
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
        return is_made(file_of(self.settings()), self._order())

    def run(self) -> None:
        tell(make_sample(file_of(self.settings()), self._order()))

    def _order(self) -> SampleOrder:
        return SampleOrder(facts=self.facts, profile=self.profile, facts_file=self.facts_file)
