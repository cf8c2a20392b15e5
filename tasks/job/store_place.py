"""Where a store is, in words for people: what the key `database` of a job file says."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_FILES = "sqlite"
"""The kind of store that is a file: a bare path is one, and so is `sqlite:///path`."""
_PASSWORD = re.compile(r"(://[^/@:]*):[^/@]*@")


@dataclass(frozen=True)
class StorePlace:
    """The kind of a store and its place: the path of its file as the job file has it, or else its URL, but for a
    password and whatever follows a `?` or `#`, where one may stand too. As text it is the place.
    """

    scheme: str
    place: str

    @classmethod
    def of(cls, database: str) -> StorePlace:
        """A path, or a URL of any kind; whether there are such stores is not known here."""
        path = database.removeprefix(f"{_FILES}:///")
        if path == database and "://" in database:
            shown = re.split("[?#]", database, maxsplit=1)[0]
            return cls(database.partition("://")[0], _PASSWORD.sub(r"\1:…@", shown))
        return cls(_FILES, str(Path(path)))

    def __str__(self) -> str:
        return self.place

    @property
    def is_file(self) -> bool:
        return "://" not in self.place

    @property
    def absolute(self) -> str:
        """The same wherever a command is started from, and by whichever links it gets there."""
        return os.path.realpath(self.place) if self.is_file else self.place

    @property
    def path(self) -> Path:
        """The file of a store that is one."""
        assert self.is_file, self.scheme
        return Path(self.place)
