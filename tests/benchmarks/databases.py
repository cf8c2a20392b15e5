"""The benchmark's databases: built once, copied for every step, and looked at afterwards.

python databases.py DATABASE FACTS PROFILE      builds one
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

_READ_BYTES = 1 << 20
_COMPANIONS = ("", "-wal", "-shm")


def cached_path(work_dir: Path, *, facts: int, profile: str) -> Path:
    """Where the database of so many facts is kept. Remove it when the sample changes."""
    return work_dir / f"facts-{facts}-{profile}.db"


def build(path: Path, *, facts: int, profile: str) -> None:
    """Build a database of clean facts, in a process of its own: what this one starts inherits its peak memory."""
    subprocess.run([sys.executable, __file__, str(path), str(facts), profile], check=True)


def fold_log(path: Path) -> None:
    """Leave all of the database in its one file: the last connection that may write takes the log along."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


@contextmanager
def fresh_copy(original: Path, folder: Path, name: str) -> Iterator[Path]:
    """A copy of its own for one step, on the disk and in the page cache. Removed at the end of the block."""
    copy = folder / name
    try:
        subprocess.run(["cp", "--reflink=auto", str(original), str(copy)], check=True)
        settle(copy)
        yield copy
    finally:
        for suffix in _COMPANIONS:
            Path(f"{copy}{suffix}").unlink(missing_ok=True)


def settle(path: Path) -> None:
    """Bring every step to the same start: nothing waits to be written, and the file has been read once."""
    with path.open("rb", buffering=0) as file:
        os.fsync(file.fileno())
        while file.read(_READ_BYTES):
            pass


def rows_written(path: Path) -> tuple[int, int]:
    """How many rows of metadata and of log there are."""
    with closing(_reader(path)) as connection:
        return (
            connection.execute("SELECT count(*) FROM am_fact_metadata").get,
            connection.execute("SELECT count(*) FROM am_fact_attestation_log").get,
        )


def without_source(path: Path) -> int:
    """How many metadata rows have no source."""
    with closing(_reader(path)) as connection:
        found: int = connection.execute("SELECT count(*) FROM am_fact_metadata WHERE source_doc IS NULL").get
        return found


def digest(path: Path) -> str:
    """SHA-256 of all that the metadata and the log say about facts, but for signatures and the time of writing.

    Two databases with one digest attest the same, to the last bit of a band, and log the same facts.
    """
    digest = hashlib.sha256()
    with closing(_reader(path)) as connection:
        for row in connection.execute(
            "SELECT fact_id, source_doc, extracted_at, verified_by, confidence_lower, confidence_upper "
            "FROM am_fact_metadata ORDER BY fact_id"
        ):
            digest.update(repr(row).encode())
        for row in connection.execute("SELECT fact_id, attester FROM am_fact_attestation_log ORDER BY fact_id"):
            digest.update(repr(row).encode())
    return digest.hexdigest()


def _reader(path: Path) -> apsw.Connection:
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)


if __name__ == "__main__":
    from tasks.sample.database import build_sample

    build_sample(Path(sys.argv[1]), facts=int(sys.argv[2]), profile=sys.argv[3], warts=False)
