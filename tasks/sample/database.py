"""The sample database: generated facts with known warts, or real facts from a file.

Both are built aside and appear at their path only when whole (see sample_file).
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

import apsw

from tasks.core.errors import SampleError
from tasks.sample.facts import FactMaker, StoredFact, StoredSource, entities, sources_of
from tasks.sample.file import new_database
from tasks.sample.warts import (
    LEGACY_ATTESTER,
    LEGACY_RUN_AT,
    WARTS,
    Expected,
    Spoilt,
    StoredMetadata,
    WartPlan,
    spoil,
)

DEFAULT_FACTS = 20_000
_BLOCK_ROWS = 20_000
_GZIP_MAGIC = b"\x1f\x8b"

_INSERT_SOURCE = "INSERT INTO am_source VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_FACT = "INSERT INTO am_entity_facts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_METADATA = """
    INSERT INTO am_fact_metadata
           (fact_id, source_doc, extracted_at, verified_by, ed25519_sig, created_at, updated_at)
    VALUES (?1, ?2, ?3, ?4, zeroblob(64), ?5, ?5)"""
_INSERT_LOG = """
    INSERT INTO am_fact_attestation_log (fact_id, attester, signed_at, signature_hex)
    VALUES (?1, ?2, ?3, hex(zeroblob(64)))"""
_READ_AS_TEXT = {
    "source_url": "UPDATE am_entity_facts SET source_url = CAST(source_url AS TEXT) WHERE id = ?",
    "created_at": "UPDATE am_entity_facts SET created_at = CAST(created_at AS TEXT) WHERE id = ?",
}
_READ_SOURCE_AS_TEXT = "UPDATE am_source SET source_url = CAST(source_url AS TEXT) WHERE id = ?"

# Both take a whole _FactLine: ?1 entity_id, ?2 field_name, ?3 value, ?4 source_url, ?5 fetched_at.
_INSERT_SOURCE_OF_LINE = """
    INSERT INTO am_source (source_url, first_seen, last_verified) VALUES (?4, ?5, ?5)
    ON CONFLICT (source_url) DO NOTHING"""
_INSERT_FACT_OF_LINE = """
    INSERT INTO am_entity_facts (entity_id, field_name, field_value_text, field_kind, source_id,
                                 confirming_source_count, created_at)
    VALUES (?1, ?2, ?3, 'text', (SELECT id FROM am_source WHERE source_url = ?4), 1, ?5)"""


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
    with new_database(path) as connection:
        _fill(connection, maker, plan)
        sources = _count_sources(connection)
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
    with new_database(path) as connection:
        while block := list(islice(lines, _BLOCK_ROWS)):
            sourced = [line for line in block if line.source_url and line.source_url.strip()]
            connection.executemany(_INSERT_SOURCE_OF_LINE, sourced)
            connection.executemany(_INSERT_FACT_OF_LINE, block)
            total += len(block)
            without_source += len(block) - len(sourced)
        if not total:
            raise SampleError(f"{facts_file} holds no facts. Nothing was written.")
        sources = _count_sources(connection)
    return SampleSummary(total, sources, {"source_none": without_source}, Expected(eligible=total))


@dataclass
class _Block:
    """Rows on their way into the database."""

    sources: list[StoredSource] = field(default_factory=list)
    facts: list[StoredFact] = field(default_factory=list)
    metadata: list[StoredMetadata] = field(default_factory=list)
    statements: list[tuple[str, int]] = field(default_factory=list)

    def add_spoilt(self, spoilt: Spoilt) -> None:
        self.facts.append(spoilt.fact)
        if spoilt.not_utf8 is not None:  # only SQL can make text of such bytes
            self.statements.append((_READ_AS_TEXT[spoilt.not_utf8], spoilt.fact.id))
        if spoilt.source is not None:
            self.sources.append(spoilt.source)
            self.statements.append((_READ_SOURCE_AS_TEXT, spoilt.source.id))
        if spoilt.metadata is not None:
            self.metadata.append(spoilt.metadata)

    def write(self, connection: apsw.Connection) -> None:
        connection.executemany(_INSERT_SOURCE, self.sources)
        connection.executemany(_INSERT_FACT, self.facts)
        connection.executemany(_INSERT_METADATA, [(*row, LEGACY_ATTESTER, LEGACY_RUN_AT) for row in self.metadata])
        connection.executemany(_INSERT_LOG, [(row.fact_id, LEGACY_ATTESTER, LEGACY_RUN_AT) for row in self.metadata])
        for statement, row_id in self.statements:
            connection.execute(statement, (row_id,))


def _fill(connection: apsw.Connection, maker: FactMaker, plan: WartPlan) -> None:
    """Write all facts in blocks, so that memory does not grow with their number."""
    past_the_end = (plan.facts, WARTS[0])
    placed = plan.placed()
    spoilt_next, wart = next(placed, past_the_end)
    block = _Block()
    for entity in entities(plan.facts):
        block.sources.extend(sources_of(entity))
        for ordinal, fact in enumerate(maker.rows(entity), entity.first_fact):
            if ordinal == spoilt_next:
                block.add_spoilt(spoil(fact, wart, entity.first_source))
                spoilt_next, wart = next(placed, past_the_end)
            else:
                block.facts.append(fact)
        if len(block.facts) >= _BLOCK_ROWS:
            block.write(connection)
            block = _Block()
    block.write(connection)


def _count_sources(connection: apsw.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM am_source").get)


class _FactLine(NamedTuple):
    """One line of a facts file."""

    entity_id: str
    field_name: str
    value: str | None
    source_url: str | None
    fetched_at: str | None


def _fact_lines(facts_file: Path) -> Iterator[_FactLine]:
    """The facts of a file, one by one. Blank lines are left out."""
    number = 0
    try:
        with facts_file.open("rb") as plain, _unpacked(plain) as stream:
            for line in stream:
                number += 1
                if line.strip():
                    yield _parsed(line)
    except _BadLineError as error:
        raise SampleError(f"{facts_file} line {number}: {error}. Nothing was written.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise SampleError(
            f"{facts_file}: the facts file cannot be read after line {number}: {error}. Nothing was written."
        ) from None


def _unpacked(plain: IO[bytes]) -> IO[bytes] | gzip.GzipFile:
    packed = plain.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    plain.seek(0)
    return gzip.open(plain) if packed else plain


class _BadLineError(Exception):
    """What is wrong with a line, without its place."""


def _parsed(line: bytes) -> _FactLine:
    try:
        fact = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise _BadLineError(f"not a JSON object in UTF-8 ({error})") from None
    if not isinstance(fact, dict):
        raise _BadLineError(f"expected a JSON object, found {type(fact).__name__}")
    for name in _FactLine._fields:
        if name not in fact:
            raise _BadLineError(f'the object has no "{name}"')
        value, required = fact[name], name in ("entity_id", "field_name")
        if not isinstance(value, str) and (required or value is not None):
            expected = "text" if required else "text or null"
            raise _BadLineError(f'"{name}" is {type(value).__name__}, expected {expected}')
        if isinstance(value, str) and not _encodable(value):
            raise _BadLineError(f'"{name}" holds half of a surrogate pair, which is no character')
    return _FactLine(*(fact[name] for name in _FactLine._fields))


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
