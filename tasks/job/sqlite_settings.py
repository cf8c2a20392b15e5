"""The section of a job file that is about one kind of store alone: a database that is SQLite's."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from tasks.job.sections import Section


class SqliteSettings(Section):
    """How a connection is set. Database pages, MiB."""

    wal_autocheckpoint_pages: Annotated[int, Field(ge=100, le=10_000_000)] = 20_000
    cache_mib: Annotated[int, Field(ge=1, le=4096)] = 64


MOVED: Final = {f"pacing.{name}": f"sqlite.{name}" for name in SqliteSettings.model_fields}
"""Where a key of the section stood before there was one -> where it stands now. It is read in both places."""
