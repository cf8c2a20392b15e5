"""What is found wrong, or missing, while the contract is resolved."""

from __future__ import annotations

from dataclasses import dataclass, field

from tasks.contract.catalogue import Catalogue
from tasks.job.settings import Settings

NO_TABLE = "no such table"
OLDER = "is of an older release of this job, and lacks"


@dataclass(frozen=True)
class Drift:
    """One way in which the database does not honour the contract, and how to mend it."""

    table: str
    problem: str
    where: str
    mend: str

    def __str__(self) -> str:
        where = f" (contract: {self.where})" if self.where else ""
        return f"{self.table}: {self.problem}{where}. {self.mend}"


@dataclass
class Findings:
    """What `resolve` collects on its way."""

    settings: Settings
    catalogue: Catalogue
    drift: list[Drift] = field(default_factory=list)
    absences: list[str] = field(default_factory=list)

    def where(self, key: str) -> str:
        return f"{key}, {self.settings.where(key)}"
