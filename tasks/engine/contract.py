"""The contract against one real database: a binding, or all drift at once.

1. `Catalogue` is what the database says of itself (a store fills it in).
2. `resolve` looks every role of the job file up in it.
3. What does not fit becomes a `Drift` with its mend; nothing is guessed in silence.
4. What fits becomes a `Binding`, the only thing SQL is built from.

Pure functions: no database, no files.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field

from tasks.engine.settings import FactsTable, MetadataTable, Settings

_OTHER_JOBS_TABLE = "am_fact_signature"  # belongs to another job: never written, so never suggested
_NO_TABLE = "no such table"
APPLY_SCHEMA = "luigi --module tasks ApplySchema --local-scheduler"

# What other stores call these columns; used to suggest, never to guess.
_ALSO_CALLED: dict[str, tuple[str, ...]] = {
    "key": ("id", "fact_id", "source_id", "uuid", "key"),
    "source_id": ("source_id", "src_id", "source_ref", "source"),
    "source_url": ("source_url", "url", "uri", "source_uri", "href", "link"),
    "confidence": ("confidence", "confidence_score", "score"),
    "created_at": ("created_at", "created", "inserted_at", "fetched_at", "observed_at"),
    "fact_id": ("fact_id", "id", "entity_fact_id"),
    "source_doc": ("source_doc", "source_document", "source_url", "source"),
    "extracted_at": ("extracted_at", "extracted", "extracted_ts"),
    "verified_by": ("verified_by", "attester", "verifier"),
    "ed25519_sig": ("ed25519_sig", "ed25519_signature", "signature", "sig"),
    "signature_hex": ("signature_hex", "sig_hex", "signature"),
    "attester": ("attester", "verified_by", "signer"),
    "attestation_id": ("attestation_id", "id"),
    "signed_at": ("signed_at", "attested_at", "created_at"),
    "notes": ("notes", "note", "comment", "remarks"),
}


@dataclass(frozen=True)
class Column:
    """One column as declared. `has_default` is true for an explicit DEFAULT; generated ones are not writable."""

    name: str
    declared_type: str = ""
    not_null: bool = False
    has_default: bool = False
    generated: bool = False

    @property
    def affinity(self) -> str:
        """INTEGER, TEXT, BLOB (none), REAL or NUMERIC. Source: https://sqlite.org/datatype3.html section 3.1"""
        declared = self.declared_type.upper()
        if "INT" in declared:
            return "INTEGER"
        if any(word in declared for word in ("CHAR", "CLOB", "TEXT")):
            return "TEXT"
        if not declared or "BLOB" in declared:
            return "BLOB"
        return "REAL" if any(word in declared for word in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


@dataclass(frozen=True)
class Index:
    """One index. A column is None where the index holds an expression."""

    name: str
    unique: bool
    partial: bool
    columns: tuple[str | None, ...]
    collations: tuple[str, ...] = ()
    is_primary_key: bool = False

    def is_unique_on(self, column: str) -> bool:
        """True if this index alone guarantees that `column` never repeats, byte for byte."""
        return self.unique and not self.partial and self.columns == (column,) and self.collations in ((), ("BINARY",))


@dataclass(frozen=True)
class Table:
    """One table as the catalogue shows it. `kind` is table, view, virtual or shadow; `sql` its CREATE text."""

    name: str
    kind: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    without_rowid: bool = False
    indexes: tuple[Index, ...] = ()
    triggers: tuple[str, ...] = ()
    sql: tuple[str, ...] = ()

    def column(self, name: str) -> Column | None:
        """Look a column up as SQLite does: ASCII letters regardless of case."""
        return next((c for c in self.columns if c.name.lower() == name.lower()), None)

    @property
    def rowid_alias(self) -> str | None:
        """The INTEGER PRIMARY KEY column, which is the rowid itself, or None.

        One declared `INTEGER PRIMARY KEY DESC` is not the rowid and has an index of its own instead.
        Source: https://sqlite.org/lang_createtable.html#rowids_and_the_integer_primary_key
        """
        has_own_index = any(index.is_primary_key for index in self.indexes)
        if self.without_rowid or len(self.primary_key) != 1 or has_own_index:
            return None
        column = self.column(self.primary_key[0])
        return column.name if column and column.declared_type.upper() == "INTEGER" else None

    @property
    def rowid_name(self) -> str | None:
        """What the rowid can be called: the first of its three names that is no column's.

        Source: https://sqlite.org/lang_createtable.html#rowid
        """
        names = () if self.without_rowid else ("rowid", "oid", "_rowid_")
        return next((name for name in names if self.column(name) is None), None)

    def is_unique(self, column: str) -> bool:
        """True if the database itself guarantees that `column` never repeats."""
        return self.rowid_alias == column or any(index.is_unique_on(column) for index in self.indexes)


@dataclass(frozen=True)
class Catalogue:
    """All tables and views of one database."""

    tables: tuple[Table, ...]

    def table(self, name: str) -> Table | None:
        return next((t for t in self.tables if t.name.lower() == name.lower()), None)


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


@dataclass(frozen=True)
class FactsBinding:
    """`key_is_rowid`: keys are integers and never NULL. Otherwise any type may turn up in a row, and where
    `key_is_untyped` (a column without affinity) even the integer 7 beside the text '7'.
    """

    table: str
    key: str
    key_is_rowid: bool
    key_is_untyped: bool
    key_may_be_null: bool
    source_id: str | None
    source_url: str | None
    confidence: str | None
    created_at: str | None


@dataclass(frozen=True)
class SourceBinding:
    table: str
    key: str
    source_url: str


@dataclass(frozen=True)
class MetadataBinding:
    """`rowid` is a name that the numbers of its rows go by, None where they have none."""

    table: str
    fact_id: str
    source_doc: str
    extracted_at: str
    verified_by: str
    confidence_lower: str
    confidence_upper: str
    ed25519_sig: str
    created_at: str | None
    updated_at: str | None
    rowid: str | None


@dataclass(frozen=True)
class LogBinding:
    table: str
    attestation_id: str
    fact_id: str
    attester: str
    signed_at: str | None
    signature_hex: str
    notes: str | None = None


@dataclass(frozen=True)
class LedgerBinding:
    run: str
    chunk: str
    reject: str
    tile: str
    checkpoint: str


@dataclass(frozen=True)
class SidecarBinding:
    """The part of the contract that an auditor's copy must honour: what was attested, not the facts."""

    metadata: MetadataBinding
    log: LogBinding
    ledger: LedgerBinding
    absences: tuple[str, ...] = ()

    @property
    def tables(self) -> tuple[str, ...]:
        return (self.metadata.table, self.log.table, self.ledger.tile, self.ledger.checkpoint)


@dataclass(frozen=True)
class Binding:
    """The contract with every role resolved to a name that exists. `absences` tells what is not there, in words."""

    facts: FactsBinding
    source: SourceBinding | None
    metadata: MetadataBinding
    log: LogBinding
    ledger: LedgerBinding
    absences: tuple[str, ...] = ()

    @property
    def sidecar(self) -> SidecarBinding:
        """The part without the facts."""
        return SidecarBinding(self.metadata, self.log, self.ledger, self.absences)

    @property
    def digest(self) -> str:
        """SHA-256 over which names play which role: what a fact's record is derived from, and where it goes."""
        roles = {name: value for name, value in asdict(self).items() if name != "absences"}
        return hashlib.sha256(json.dumps(roles, sort_keys=True).encode()).hexdigest()

    @property
    def tables(self) -> tuple[str, ...]:
        """Every table the job reads or writes."""
        source = (self.source.table,) if self.source else ()
        return (self.facts.table, *source, *self.writable, self.ledger.tile, self.ledger.checkpoint)

    @property
    def writable(self) -> tuple[str, ...]:
        """The only tables that a chunk may ever write to."""
        return (self.metadata.table, self.log.table, self.ledger.run, self.ledger.chunk, self.ledger.reject)


@dataclass(frozen=True)
class AttestationBinding:
    """The two tables that verification reads, which is all that an auditor's copy needs to hold.

    `tile` is the table of the sealed log; None if there is none, and then no log row has been sealed.
    """

    metadata: MetadataBinding
    log: LogBinding
    tile: str | None

    @property
    def tables(self) -> tuple[str, ...]:
        return (self.metadata.table, self.log.table)

    @property
    def digest(self) -> str:
        """SHA-256 over which names play which role."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass
class _Findings:
    """What `resolve` collects on its way."""

    settings: Settings
    catalogue: Catalogue
    drift: list[Drift] = field(default_factory=list)
    absences: list[str] = field(default_factory=list)

    def where(self, key: str) -> str:
        return f"{key}, {self.settings.where(key)}"


def resolve(
    settings: Settings, catalogue: Catalogue, ledger_columns: dict[str, tuple[str, ...]]
) -> Binding | list[Drift]:
    """Resolve the contract. Returns the binding, or all drift (never an empty list).

    `ledger_columns` maps the roles of the job's own tables to the columns they must have: its schema file
    says which.
    """
    found = _Findings(settings, catalogue)
    tables = settings.tables
    _refuse_shared_names(found)
    _refuse_shared_columns(found)
    facts = _facts(found, tables.facts)
    source = _source(found) if _has_source_id(found, tables.facts) else None
    metadata = _metadata(found, tables.metadata)
    log = _log(found)
    ledger = _ledger(found, ledger_columns)
    if found.drift:
        return found.drift
    assert facts and metadata and log and ledger  # each missing one has left its drift
    return Binding(facts, source, metadata, log, ledger, tuple(found.absences))


def resolve_sidecar(
    settings: Settings, catalogue: Catalogue, ledger_columns: dict[str, tuple[str, ...]]
) -> SidecarBinding | list[Drift]:
    """Like `resolve`, without the facts and their sources: a copy of the sidecar alone can be audited."""
    found = _Findings(settings, catalogue)
    _refuse_shared_names(found)
    metadata, log = _metadata(found, settings.tables.metadata), _log(found)
    ledger = _ledger(found, ledger_columns)
    if found.drift:
        return found.drift
    assert metadata and log and ledger  # each missing one has left its drift
    return SidecarBinding(metadata, log, ledger, tuple(found.absences))


def resolve_attestations(settings: Settings, catalogue: Catalogue) -> AttestationBinding | list[Drift]:
    """Resolve the metadata and the log alone, to read them. Returns the binding, or all drift (never an empty list)."""
    found = _Findings(settings, catalogue)
    metadata = _metadata(found, settings.tables.metadata)
    log = _log(found)
    if found.drift:
        return found.drift
    assert metadata and log  # each missing one has left its drift
    sealed = catalogue.table(settings.tables.ledger.tile)
    return AttestationBinding(metadata, log, sealed.name if sealed else None)


def sidecar_drift(settings: Settings, catalogue: Catalogue, ledger_columns: dict[str, tuple[str, ...]]) -> list[Drift]:
    """What is wrong with those of the job's own tables that exist; a missing one is no drift here."""
    found = _Findings(settings, catalogue)
    _refuse_shared_names(found)
    _metadata(found, settings.tables.metadata)
    _log(found)
    _ledger(found, ledger_columns)
    return [drift for drift in found.drift if drift.problem != _NO_TABLE]


def sidecar_binding(settings: Settings, catalogue: Catalogue, ledger_columns: dict[str, tuple[str, ...]]) -> Binding:
    """The job's own tables bound, where `sidecar_drift` found nothing; the facts are a stand-in nobody reads."""
    found = _Findings(settings, catalogue)
    metadata = _metadata(found, settings.tables.metadata)
    log, ledger = _log(found), _ledger(found, ledger_columns)
    assert metadata and log and ledger, found.drift
    facts = FactsBinding("facts", "id", True, False, False, None, None, None, None)
    return Binding(facts, None, metadata, log, ledger)


def fingerprint(catalogue: Catalogue, names: Iterable[str]) -> str:
    """SHA-256 over the declared shape of the named tables, in name order."""
    wanted = {name.lower() for name in names}
    shapes = [asdict(t) for t in sorted(catalogue.tables, key=lambda t: t.name) if t.name.lower() in wanted]
    return hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()


def _facts(found: _Findings, names: FactsTable) -> FactsBinding | None:
    table = _table(found, "facts", names.name, mend="")
    if table is None:
        return None
    key = _required(found, table, "facts", "key", names.key)
    optional = {
        role: _optional(found, table, "facts", role, getattr(names, role))
        for role in ("source_id", "source_url", "confidence", "created_at")
    }
    if key is None or not _is_usable_key(found, table, key, "tables.facts.key"):
        return None
    column = table.column(key)
    is_rowid = table.rowid_alias == key
    may_be_null = not (is_rowid or table.without_rowid or (column is not None and column.not_null))
    if not optional["source_id"] and not optional["source_url"]:
        found.absences.append(f"{table.name} has neither a source_id nor a source_url: every source_doc will be NULL")
    is_untyped = column is not None and column.affinity == "BLOB"
    return FactsBinding(table.name, key, is_rowid, is_untyped, may_be_null, **optional)


def _has_source_id(found: _Findings, names: FactsTable) -> bool:
    """A source table is needed only where the facts point to one."""
    table = found.catalogue.table(names.name)
    return bool(table and names.source_id and table.column(names.source_id))


def _source(found: _Findings) -> SourceBinding | None:
    names = found.settings.tables.source
    table = _table(found, "source", names.name, mend="")
    if table is None:
        return None
    key = _required(found, table, "source", "key", names.key)
    url = _required(found, table, "source", "source_url", names.source_url)
    if key is None or not _is_usable_key(found, table, key, "tables.source.key") or url is None:
        return None
    return SourceBinding(table.name, key, url)


def _metadata(found: _Findings, names: MetadataTable) -> MetadataBinding | None:
    table = _table(found, "metadata", names.name, mend=f"Create it with: {APPLY_SCHEMA}.")
    if table is None:
        return None
    roles = (
        "fact_id",
        "source_doc",
        "extracted_at",
        "verified_by",
        "confidence_lower",
        "confidence_upper",
        "ed25519_sig",
    )
    required = {role: _required(found, table, "metadata", role, getattr(names, role), writable=True) for role in roles}
    optional = {
        role: _optional(found, table, "metadata", role, getattr(names, role)) for role in ("created_at", "updated_at")
    }
    fact_id = required["fact_id"]
    if fact_id is not None and not _is_usable_key(found, table, fact_id, "tables.metadata.fact_id"):
        return None
    bound = {role: name for role, name in required.items() if name is not None}
    if len(bound) < len(roles):
        return None
    return MetadataBinding(
        table.name,
        rowid=table.rowid_name,
        created_at=optional["created_at"],
        updated_at=optional["updated_at"],
        **bound,
    )


def _log(found: _Findings) -> LogBinding | None:
    names = found.settings.tables.attestation_log
    table = _table(found, "attestation_log", names.name, mend=f"Create it with: {APPLY_SCHEMA}.")
    if table is None:
        return None
    roles = ("attestation_id", "fact_id", "attester", "signature_hex")
    required = {role: _required(found, table, "attestation_log", role, getattr(names, role)) for role in roles}
    optional = {
        role: _optional(found, table, "attestation_log", role, getattr(names, role)) for role in ("signed_at", "notes")
    }
    bound = {role: name for role, name in required.items() if name is not None}
    if len(bound) < len(roles):
        return None
    return LogBinding(table.name, signed_at=optional["signed_at"], notes=optional["notes"], **bound)


def _ledger(found: _Findings, ledger_columns: dict[str, tuple[str, ...]]) -> LedgerBinding | None:
    names: dict[str, str] = found.settings.tables.ledger.model_dump()
    bound = {}
    for role, name in names.items():
        table = _table(found, f"ledger.{role}", name, mend=f"Create it with: {APPLY_SCHEMA}.")
        if table is None:
            continue
        missing = [column for column in ledger_columns[role] if table.column(column) is None]
        if missing:
            found.drift.append(
                Drift(
                    table.name,
                    f"the job's own table lacks {', '.join(missing)}",
                    found.where(f"tables.ledger.{role}"),
                    f"Set tables.ledger.{role} to a name that is free, then run: {APPLY_SCHEMA}.",
                )
            )
        bound[role] = table.name
    return LedgerBinding(**bound) if len(bound) == len(names) else None


def _refuse_shared_names(found: _Findings) -> None:
    """Two roles in one table would let the job write to what it reads."""
    tables = found.settings.tables
    roles = {
        f"tables.{role}.name": getattr(tables, role).name for role in ("facts", "source", "metadata", "attestation_log")
    }
    roles |= {f"tables.ledger.{role}": name for role, name in tables.ledger.model_dump().items()}
    seen: dict[str, str] = {}
    for key, name in roles.items():
        other = seen.setdefault(name.lower(), key)
        if other != key:
            mend = "Give each role a table of its own."
            found.drift.append(Drift(name, f"named for two roles, {other} and {key}", found.where(key), mend))


def _refuse_shared_columns(found: _Findings) -> None:
    """Two roles of one table in one column would overwrite each other."""
    for role in ("facts", "source", "metadata", "attestation_log"):
        names: dict[str, str | None] = getattr(found.settings.tables, role).model_dump()
        seen: dict[str, str] = {}
        for column_role, name in names.items():
            if column_role == "name" or name is None:
                continue
            other = seen.setdefault(name.lower(), column_role)
            if other != column_role:
                key = f"tables.{role}.{column_role}"
                problem = f'column "{name}" named for two roles, {other} and {column_role}'
                found.drift.append(
                    Drift(str(names["name"]), problem, found.where(key), "Give each role its own column.")
                )


def _table(found: _Findings, role: str, name: str, *, mend: str) -> Table | None:
    """The ordinary table of that name, or None with its drift noted."""
    key = f"tables.{role}" if role.startswith("ledger.") else f"tables.{role}.name"
    table = found.catalogue.table(name)
    if table is None:
        mend = mend or _similar_table(found, name, key)
        found.drift.append(Drift(name, _NO_TABLE, found.where(key), mend))
        return None
    if table.kind != "table":
        what = {"view": "a view", "virtual": "a virtual table"}.get(table.kind, f"a {table.kind} table")
        mend = "The job needs an ordinary table with a unique key: name the one behind it."
        found.drift.append(Drift(table.name, f"is {what}", found.where(key), mend))
        return None
    return table


def _required(
    found: _Findings, table: Table, role: str, column_role: str, name: str, *, writable: bool = False
) -> str | None:
    """The real name of a column that must be there, or None with its drift noted."""
    key = f"tables.{role}.{column_role}"
    column = table.column(name)
    if column is None:
        mend = _mend_column(table, column_role, name, _taken(found, role, column_role))
        found.drift.append(Drift(table.name, f'no column "{name}"', found.where(key), mend))
        return None
    if writable and column.generated:
        mend = "The job writes this column: make it an ordinary one."
        found.drift.append(Drift(table.name, f'column "{column.name}" is generated', found.where(key), mend))
        return None
    return column.name


def _optional(found: _Findings, table: Table, role: str, column_role: str, name: str | None) -> str | None:
    """The real name of a column that may be missing: only under its canonical name, never a name of the operator's."""
    if name is None:
        return None
    column = table.column(name)
    if column is not None:
        return column.name
    model = type(getattr(found.settings.tables, role))
    if name != model.model_fields[column_role].default:
        return _required(found, table, role, column_role, name)
    taken = _taken(found, role, column_role)
    similar = _similar_column(table, column_role, name, taken, cutoff=0.8)
    hint = f'; if "{similar}" is meant, set tables.{role}.{column_role}: {similar}' if similar else ""
    found.absences.append(f'{table.name} has no column "{name}", which is optional{hint}')
    return None


def _is_usable_key(found: _Findings, table: Table, key: str, where: str) -> bool:
    """True if `key` is unique and can be walked in order by an index; else its drift is noted."""
    if table.is_unique(key):
        return True
    others = [name for name in _unique_columns(table) if name != key]
    advice = f"Unique here: {', '.join(others)}." if others else "It needs a unique index of its own."
    if len(table.primary_key) > 1 and key in table.primary_key:
        problem = (
            f'"{key}" is part of the composite primary key ({", ".join(table.primary_key)}), which is not supported'
        )
    elif any(index.columns == (key,) and index.unique for index in table.indexes):
        problem = f'the unique index on "{key}" is partial or has a collation other than BINARY, which is not supported'
    else:
        problem = f'"{key}" is not unique by any primary key or unique index'
    found.drift.append(Drift(table.name, problem, found.where(where), advice))
    return False


def _unique_columns(table: Table) -> Iterator[str]:
    if table.rowid_alias:
        yield table.rowid_alias
    for index in table.indexes:
        column = index.columns[0] if len(index.columns) == 1 else None
        if column is not None and index.is_unique_on(column):
            yield column


def _taken(found: _Findings, role: str, column_role: str) -> set[str]:
    """Columns of this table that play another role already."""
    names = getattr(found.settings.tables, role).model_dump()
    return {name.lower() for other, name in names.items() if other not in ("name", column_role) and name}


def _mend_column(table: Table, column_role: str, name: str, taken: set[str]) -> str:
    """What to write in the job file instead of `name`."""
    single = table.primary_key[0] if len(table.primary_key) == 1 else None
    if column_role == "key" and single is not None:
        return f'Its primary key is "{single}": set {column_role}: {single}.'
    similar = _similar_column(table, column_role, name, taken)
    if similar is not None:
        return f'Did you mean "{similar}"? Set {column_role}: {similar}.'
    return f"Its columns are {', '.join(column.name for column in table.columns)}."


def _similar_column(table: Table, column_role: str, name: str, taken: set[str], *, cutoff: float = 0.6) -> str | None:
    """The column most likely meant, or None: a known other name, a near spelling, and at last a shared word."""
    free = {c.name.lower(): c.name for c in table.columns if c.name.lower() not in taken}
    for alias in _ALSO_CALLED.get(column_role, ()):
        if alias in free and alias != name.lower():
            return free[alias]
    close = difflib.get_close_matches(name.lower(), free, n=1, cutoff=cutoff)
    if close or cutoff > 0.6:
        return free[close[0]] if close else None
    words = set(name.lower().split("_")) - {"", "at", "by", "id"}
    return next((free[low] for low in free if words & set(low.split("_"))), None)


def _named_tables(found: _Findings) -> list[str]:
    tables = found.settings.tables
    named = [getattr(tables, role).name for role in ("facts", "source", "metadata", "attestation_log")]
    return [*named, *tables.ledger.model_dump().values()]


def _similar_table(found: _Findings, name: str, key: str) -> str:
    """The table most likely meant, in a sentence."""
    others = {_OTHER_JOBS_TABLE} | {other.lower() for other in _named_tables(found) if other != name}
    names = {t.name.lower(): t.name for t in found.catalogue.tables if t.kind == "table"}
    free = {lower: real for lower, real in names.items() if lower not in others}
    close = difflib.get_close_matches(name.lower(), free, n=1, cutoff=0.6)
    if close:
        return f'Did you mean "{names[close[0]]}"? Set {key}: {names[close[0]]}.'
    listed = ", ".join(sorted(names.values())[:12]) or "none"
    return f"The database has these tables: {listed}."
