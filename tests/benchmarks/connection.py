"""How the hand-written contenders open the database: with the job's own settings, so that none is faster by them."""

from __future__ import annotations

from pathlib import Path

import apsw

CACHE_MIB = 64
WAL_AUTOCHECKPOINT_PAGES = 20_000


def connect(path: Path, *, write: bool) -> apsw.Connection:
    """Open an existing file with what config/backfill.yaml gives the job by default."""
    flags = apsw.SQLITE_OPEN_READWRITE if write else apsw.SQLITE_OPEN_READONLY
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(30_000)
    for pragma in ("temp_store = MEMORY", f"cache_size = -{CACHE_MIB * 1024}", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    if write:
        connection.wal_autocheckpoint(WAL_AUTOCHECKPOINT_PAGES)
    return connection
