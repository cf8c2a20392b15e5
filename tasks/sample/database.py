"""The sample database: generated facts with known warts, or real facts from a file.

Both are built aside and appear at their path only when whole (see stores.sqlite.new_file).
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from tasks.core.errors import NOTHING_WRITTEN, SampleError
from tasks.sample.facts import FactMaker, entities, sources_of
from tasks.sample.warts import (
    LEGACY_ATTESTER,
    LEGACY_RUN_AT,
    WARTS,
    Expected,
    Spoilt,
    WartPlan,
    spoil,
)
from tasks.stores.open import create_store
from tasks.stores.protocols.new_store import FactLine, NewStore, StoredRows

DEFAULT_FACTS = 20_000
_BLOCK_ROWS = 20_000
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class SampleSummary:
    """What a new database holds. `warts` counts facts by wart.

    `expected` is the outcome of a first run, as far as it is known: of generated facts all of it, of
    facts from a file only `eligible`.
    """

    facts: int
    sources: int
    warts: dict[str, int]
    expected: Expected


def build_sample(
    path: Path, *, facts: int = DEFAULT_FACTS, profile: str = "clustered", warts: bool = True
) -> SampleSummary:
    """Make a database of generated facts; the same arguments always give the same rows.

    It appears at `path` only when whole. Raises SampleError if anything is there already (which is never
    overwritten), if `facts` is below 1, or if `profile` is neither "clustered" nor "scattered".
    """
    maker = FactMaker(facts, profile)
    plan = WartPlan.of(facts, warts=warts)
    with create_store(path) as new:
        _fill(new, maker, plan)
        sources = new.count_sources()
    return SampleSummary(facts, sources, plan.by_name(), plan.expected())


def load_facts_file(path: Path, facts_file: Path) -> SampleSummary:
    """Make a database of the facts in a JSON-lines file, plain or gzipped, in the file's order.

    Each line is an object with `entity_id` and `field_name` (text) and `value`, `source_url` and
    `fetched_at` (text or null); other fields are left out. Every distinct source URL becomes one source,
    to which its facts are linked; a blank one is no source. `fetched_at` becomes `created_at` verbatim.
    The file is read as a stream. Raises SampleError, which names the file and the line, for a line that
    is not like that, and for whatever `build_sample` refuses.
    """
    lines = _fact_lines(facts_file)
    total = without_source = 0
    with create_store(path) as new:
        while block := list(islice(lines, _BLOCK_ROWS)):
            new.add_lines(block)
            total += len(block)
            without_source += sum(1 for line in block if not line.names_source)
        if not total:
            raise SampleError(f"{facts_file} holds no facts", written=NOTHING_WRITTEN)
        sources = new.count_sources()
    return SampleSummary(total, sources, {"source_none": without_source}, Expected(eligible=total))


def _rows() -> StoredRows:
    return StoredRows(attester=LEGACY_ATTESTER, attested_at=LEGACY_RUN_AT)


def _add_spoilt(rows: StoredRows, spoilt: Spoilt) -> None:
    rows.facts.append(spoilt.fact)
    if spoilt.not_utf8 is not None:
        rows.facts_not_utf8.append((spoilt.not_utf8, spoilt.fact.id))
    if spoilt.source is not None:
        rows.sources.append(spoilt.source)
        rows.sources_not_utf8.append(spoilt.source.id)
    if spoilt.metadata is not None:
        rows.metadata.append(spoilt.metadata)


def _fill(new: NewStore, maker: FactMaker, plan: WartPlan) -> None:
    """Write all facts in blocks, so that memory does not grow with their number."""
    past_the_end = (plan.facts, WARTS[0])
    placed = plan.placed()
    spoilt_next, wart = next(placed, past_the_end)
    block = _rows()
    for entity in entities(plan.facts):
        block.sources.extend(sources_of(entity))
        for ordinal, fact in enumerate(maker.rows(entity), entity.first_fact):
            if ordinal == spoilt_next:
                _add_spoilt(block, spoil(fact, wart, entity.first_source))
                spoilt_next, wart = next(placed, past_the_end)
            else:
                block.facts.append(fact)
        if len(block.facts) >= _BLOCK_ROWS:
            new.add(block)
            block = _rows()
    new.add(block)


def _fact_lines(facts_file: Path) -> Iterator[FactLine]:
    """The facts of a file, one by one. Blank lines are left out."""
    number = 0
    try:
        with facts_file.open("rb") as plain, _unpacked(plain) as stream:
            for line in stream:
                number += 1
                if line.strip():
                    yield _parsed(line)
    except _BadLineError as error:
        raise SampleError(str(error), where=f"{facts_file} line {number}", written=NOTHING_WRITTEN) from None
    except (OSError, EOFError, zlib.error) as error:
        raise SampleError(
            f"the facts file cannot be read after line {number}: {error}",
            where=str(facts_file),
            written=NOTHING_WRITTEN,
        ) from None


def _unpacked(plain: IO[bytes]) -> IO[bytes] | gzip.GzipFile:
    packed = plain.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    plain.seek(0)
    return gzip.open(plain) if packed else plain


class _BadLineError(Exception):
    """What is wrong with a line, without its place."""


def _parsed(line: bytes) -> FactLine:
    try:
        fact = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise _BadLineError(f"not a JSON object in UTF-8 ({error})") from None
    if not isinstance(fact, dict):
        raise _BadLineError(f"expected a JSON object, found {type(fact).__name__}")
    for name in FactLine._fields:
        if name not in fact:
            raise _BadLineError(f'the object has no "{name}"')
        value, required = fact[name], name in ("entity_id", "field_name")
        if not isinstance(value, str) and (required or value is not None):
            expected = "text" if required else "text or null"
            raise _BadLineError(f'"{name}" is {type(value).__name__}, expected {expected}')
        if isinstance(value, str) and not _encodable(value):
            raise _BadLineError(f'"{name}" holds half of a surrogate pair, which is no character')
    return FactLine(*(fact[name] for name in FactLine._fields))


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
