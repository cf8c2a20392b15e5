"""Filling a store that is being made with rows of the canonical tables: values and one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, TypeAlias

StoredValue: TypeAlias = str | int | float | bytes | None
TextColumn = Literal["source_url", "created_at"]


class StoredSource(NamedTuple):
    """One row of am_source, in the order of its columns."""

    id: int
    source_url: StoredValue
    source_type: str | None
    domain: str | None
    content_hash: str | None
    first_seen: str | None
    last_verified: str | None
    license: str | None


class StoredFact(NamedTuple):
    """One row of am_entity_facts, in the order of its columns."""

    id: int
    entity_id: str
    field_name: str
    field_value_text: str | None
    field_value_json: str | None
    field_value_numeric: float | None
    field_kind: str
    source_id: int | None
    source_url: StoredValue
    confidence: StoredValue
    confirming_source_count: int
    created_at: StoredValue


class StoredMetadata(NamedTuple):
    """One row of am_fact_metadata as an earlier run left it: unsigned, and without a band."""

    fact_id: str
    source_doc: StoredValue
    extracted_at: str


class FactLine(NamedTuple):
    """A fact as it comes from elsewhere, without ids."""

    entity_id: str
    field_name: str
    value: str | None
    source_url: str | None
    fetched_at: str | None

    @property
    def names_source(self) -> bool:
        return bool(self.source_url and self.source_url.strip())


@dataclass
class StoredRows:
    """Rows on their way into a new store; those of the metadata are attested by `attester` at `attested_at`.

    The columns of the facts, and the URLs of the sources, that are listed hold bytes: they are to be kept as text that
    is not UTF-8.
    """

    attester: str
    attested_at: str
    sources: list[StoredSource] = field(default_factory=list)
    facts: list[StoredFact] = field(default_factory=list)
    metadata: list[StoredMetadata] = field(default_factory=list)
    facts_not_utf8: list[tuple[TextColumn, int]] = field(default_factory=list)
    sources_not_utf8: list[int] = field(default_factory=list)


class NewStore(Protocol):
    """A store with the canonical tables that nobody else sees before it is whole."""

    def add(self, rows: StoredRows) -> None: ...

    def add_lines(self, lines: Sequence[FactLine]) -> None:
        """Each with the source that it names, which is made where there is none of this URL yet."""

    def count_sources(self) -> int: ...
