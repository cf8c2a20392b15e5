"""Every metadata row to exactly one state: cut into key ranges, each verified by itself.

1. Cut the rows into chunks of at most `chunk_rows`, by key, as one snapshot shows them.
2. Read a chunk batch by batch, each row with the latest log row of its fact as one moment shows both.
3. Judge every row; those that are not valid go to the chunk's findings, one JSON object a line.
4. Count: a chunk's verdict holds its counts and the first findings of each state.

Nothing is written to the database, and memory is bounded by the batch, however many rows are not valid. Rows that
come or go while this runs may be seen or not; every row that stays as it was is seen once.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from tasks.attestation.public_keys import KeyRegistry
from tasks.attestation.row_states import STATES, Judge, RowFinding
from tasks.core import durable
from tasks.core.clock import now_text
from tasks.core.collector import no_collector
from tasks.core.documents import Count, Moment, Seconds
from tasks.core.errors import NOTHING_WRITTEN, DatabaseError, ProvenanceError, StateError
from tasks.core.fact_keys import Key, to_json
from tasks.core.files import opened_file
from tasks.core.parent import end_with_parent
from tasks.job.settings import Settings
from tasks.runs.cuts import MAX_CHUNKS
from tasks.runs.loop import Progress, work_through
from tasks.runs.plans import Plan, PlannedChunk
from tasks.stores.open import open_store
from tasks.stores.protocols.attestations import AttestationReader

LISTED = 20
"""Findings of one state that are shown to people."""

_SHARES = 4  # what is left would be so many chunks for each worker
_LEAST_SHARES = 256  # no chunk is less than such a share of all: opening the database for it takes its time too
_MOST_BATCH_ROWS = 1_000  # about 1 MB, and half a MB of payloads: still in the processor's cache at the last signature
_NO_KEY = RowFinding(None, "malformed", "fact_id: NULL, expected text")


@dataclass(frozen=True)
class ChunkVerdict:
    """What became of one chunk. `states` has a count for every state, `listed` the first findings of each."""

    chunk: Count
    after: Any
    through: Any
    rows: Count
    states: dict[str, Count]
    listed: list[dict[str, Any]]
    started_at: Moment
    finished_at: Moment
    seconds: Seconds


def plan_verification(
    settings: Settings, registry: KeyRegistry, *, run_id: str, created_at: str, workers: int = 1
) -> Plan:
    """Cut the rows that are there now. For several workers chunks shrink towards the end, so that all finish together.

    The plan's digest covers the registry: a verdict by other keys is another verdict.
    """
    started = time.monotonic()
    with open_store(settings).attestations() as reader, reader.snapshot():
        null_keys = reader.count_null_keys()
        rows = reader.count_rows() - null_keys
        most = max(settings.pacing.chunk_rows, -(-rows // MAX_CHUNKS))
        sizes = chunk_sizes(rows, most=most, workers=workers)
        chunks = tuple(_cut(reader, sizes)) or ((PlannedChunk(1, None, None, 0),) if null_keys else ())
        return Plan(
            run_id=run_id,
            created_at=created_at,
            database=settings.place.absolute,
            settings_digest=f"{settings.digest} {registry.digest}",
            binding_digest=reader.binding_digest,
            schema_fingerprint=reader.fingerprint,
            set_aside=null_keys,
            chunks=chunks,
            planning_seconds=round(time.monotonic() - started, 3),
        )


def chunk_sizes(rows: int, *, most: int, workers: int) -> list[int]:
    """How many of `rows` each chunk takes, at most `most`.

    One worker's chunks are equal. Of several, none should work on alone for long when the others have nothing left, so
    each chunk takes a share of the rest only (guided self-scheduling: Polychronopoulos and Kuck, 1987).
    """
    sizes, left = [], rows
    while left:
        share = max(-(-left // (workers * _SHARES)), -(-rows // (workers * _LEAST_SHARES))) if workers > 1 else left
        sizes.append(min(most, share, left))
        left -= sizes[-1]
    return sizes


def _cut(reader: AttestationReader, sizes: list[int]) -> Iterator[PlannedChunk]:
    after: Key = None
    for number, size in enumerate(sizes, 1):
        through = reader.key_after(after, rows=size) if number < len(sizes) else reader.last_key()
        yield PlannedChunk(number, after, through, size)
        after = through


def verify_chunk(
    settings: Settings,
    registry: KeyRegistry,
    chunk: PlannedChunk,
    findings: Path,
    *,
    root: Path,
    progress: Callable[[Progress], None] = lambda _: None,
) -> ChunkVerdict:
    """Verify one chunk and leave its findings at that path below `root`, whole or not at all.

    Chunk 1 takes the rows without a key.

    Raises DriftError, DatabaseError or LockedError as the reader does.
    """
    started, started_at = time.monotonic(), now_text()
    with (
        no_collector(),
        durable.filled_durably(findings, root=root) as write,
        open_store(settings).attestations() as reader,
    ):
        work = Verification(reader, registry, chunk, min(settings.pacing.batch_rows, _MOST_BATCH_ROWS), write)
        rows = work_through(work, residual=chunk.residual, progress=progress).rows
    work.counts["valid"] = rows - work.counts.total()
    return ChunkVerdict(
        chunk.chunk, to_json(chunk.after), to_json(chunk.through), rows,
        {state: work.counts[state] for state in STATES}, work.listed, started_at, now_text(),
        round(time.monotonic() - started, 3),
    )  # fmt: skip


@dataclass(frozen=True)
class Verified:
    """How far a chunk is: so many rows are verified, up to the key `after`."""

    after: Key
    rows: int
    is_done: bool

    @property
    def settled(self) -> int:
        return self.rows


class Verification:
    """See runs.loop.Work. There is no ledger of it: a chunk that was not finished begins anew."""

    writes: Final = False

    def __init__(
        self, reader: AttestationReader, registry: KeyRegistry, chunk: PlannedChunk, most_rows: int,
        write: Callable[[str], object],
    ) -> None:  # fmt: skip
        self._reader, self._chunk, self._most_rows, self._write = reader, chunk, most_rows, write
        self._judge = Judge(registry, first_id_of_leaf=reader.first_id_of_leaf, logged_before=reader.logged_before)
        self.counts, self.listed = Counter[str](), list[dict[str, Any]]()

    def claim(self) -> Verified:
        null_keys = self._reader.count_null_keys() if self._chunk.chunk == 1 else 0
        for _ in range(null_keys):
            self._tell(_NO_KEY)
        self._verified = Verified(self._chunk.after, null_keys, is_done=self._chunk.through is None)
        return self._verified

    def check_schema(self) -> None:
        """No need: nothing is written, and a column that is gone is an error of the read itself."""

    def do_next_batch(self, verified: Verified) -> bool:
        batch = self._reader.read_rows(after=verified.after, through=self._chunk.through, limit=self._most_rows)
        for finding in self._judge.findings(batch.rows):
            self._tell(finding)
        self._verified = Verified(batch.last, verified.rows + len(batch.rows), is_done=batch.exhausted)
        return True

    def reread(self) -> Verified:
        return self._verified

    def stopped(self, error: ProvenanceError | KeyboardInterrupt, verified: Verified) -> BaseException:
        return error

    def leave_marker(self, verified: Verified) -> None:
        """The findings come first: whoever wants a verdict kept writes it once they are on the disk."""

    def _tell(self, finding: RowFinding) -> None:
        content = {"fact_id": to_json(finding.fact_id), "state": finding.state, "detail": finding.detail}
        self.counts[finding.state] += 1
        if self.counts[finding.state] <= LISTED:
            self.listed.append(content)
        self._write(json.dumps(content, ensure_ascii=False) + "\n")


def verify_in_process(
    settings: Settings, registry: KeyRegistry, plan: Plan, *, workers: int, folder: Path
) -> Iterator[ChunkVerdict]:
    """Verify the chunks of a plan with so many processes, in no certain order; findings go to `folder`.

    Raises DatabaseError if a process dies, and whatever a chunk raised.
    """
    verify = partial(_verify_one, settings, registry, folder)
    if workers == 1 or len(plan.chunks) < 2:
        yield from map(verify, plan.chunks)
        return
    with ProcessPoolExecutor(min(workers, len(plan.chunks)), initializer=end_with_parent) as pool:
        futures = [pool.submit(verify, chunk) for chunk in plan.chunks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise DatabaseError(
                "a worker process died, perhaps for want of memory. There is no verdict",
                where="verification",
                hint="Run the same command again, with fewer --workers",
                written=NOTHING_WRITTEN,
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _verify_one(settings: Settings, registry: KeyRegistry, folder: Path, chunk: PlannedChunk) -> ChunkVerdict:
    return verify_chunk(settings, registry, chunk, findings_in(folder, chunk.chunk), root=folder)


def findings_in(folder: Path, chunk: int) -> Path:
    return folder / f"chunk-{chunk:06d}.findings.jsonl"


def read_findings(paths: Iterable[Path], *, root: Path) -> Iterator[dict[str, Any]]:
    """All findings of these files below `root`, one after the other. Raises StateError if one is not as it was left."""
    for path in paths:
        try:
            with opened_file(path, root=root) as lines:
                yield from map(json.loads, lines)
        except (OSError, ValueError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not what this verification left"
            raise StateError(f"cannot be read: {reason}. Verify again with a new --run-id", where=str(path)) from None
