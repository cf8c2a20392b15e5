"""The contract against one real database: a binding, or all drift at once.

1. A `Catalogue` is what the database says of itself.
2. `resolve` looks every role of the job file up in it.
3. What does not fit becomes a `Drift` with its mend; nothing is guessed in silence.
4. What fits becomes a `Binding`, the only thing SQL is built from.

Pure functions: no database, no files.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field

from tasks.contract.binding import (
    AttestationBinding,
    Binding,
    FactsBinding,
    LedgerBinding,
    LogBinding,
    MetadataBinding,
    SidecarBinding,
    SourceBinding,
)
from tasks.contract.catalogue import Catalogue, Table
from tasks.contract.mends import mend_column, similar_column
from tasks.job.commands import luigi_command
from tasks.job.sections import FactsTable, LedgerTables, MetadataTable
from tasks.job.settings import Settings

_OTHER_JOBS_TABLE = "am_fact_signature"  # belongs to another job: never written, so never suggested
_NO_TABLE = "no such table"
_OLDER = "is of an older release of this job, and lacks"
_TABLES_SHOWN = 12


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
class LedgerColumn:
    """A column that a table of the job must have. `declaration` is None where an older table cannot be given it."""

    name: str
    declaration: str | None


LedgerColumns = dict[str, tuple[LedgerColumn, ...]]
"""The columns of the job's own tables by role: its schema file says which."""

_OF_SEALED_LOG = ("tile", "checkpoint")


@dataclass
class _Findings:
    """What `resolve` collects on its way."""

    settings: Settings
    catalogue: Catalogue
    drift: list[Drift] = field(default_factory=list)
    absences: list[str] = field(default_factory=list)

    def where(self, key: str) -> str:
        return f"{key}, {self.settings.where(key)}"


def resolve(settings: Settings, catalogue: Catalogue, ledger_columns: LedgerColumns) -> Binding | list[Drift]:
    """Resolve the contract. Returns the binding, or all drift (never an empty list)."""
    found = _Findings(settings, catalogue)
    tables = settings.tables
    _refuse_shared_names(found)
    _refuse_shared_columns(found)
    facts = _facts(found, tables.facts)
    source = _source(found) if _has_source_id(found, tables.facts) else None
    metadata = _metadata(found, tables.metadata)
    log = _log(found)
    if log is not None:
        _require_index(found, log)
    ledger = _ledger(found, ledger_columns)
    if found.drift:
        return found.drift
    assert facts and metadata and log and ledger  # each missing one has left its drift
    follows = settings.derivation.on_change == "reattest"
    return Binding(facts, source, metadata, log, ledger, tuple(found.absences), follows)


def resolve_sidecar(
    settings: Settings, catalogue: Catalogue, ledger_columns: LedgerColumns
) -> SidecarBinding | list[Drift]:
    """Like `resolve`, without the facts and their sources: a copy of the sidecar alone can be audited.

    Of the ledger, only the sealed log has to be there, so a copy with an older ledger can be audited too.
    """
    found = _Findings(settings, catalogue)
    _refuse_shared_names(found)
    metadata, log = _metadata(found, settings.tables.metadata), _log(found)
    sealed = {role: _ledger_table(found, ledger_columns, role) for role in _OF_SEALED_LOG}
    if found.drift:
        return found.drift
    assert metadata and log  # each missing one has left its drift
    names: dict[str, str] = settings.tables.ledger.model_dump()
    ledger = LedgerBinding(**names | {role: table.name for role, table in sealed.items() if table})
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


def sidecar_drift(settings: Settings, catalogue: Catalogue, ledger_columns: LedgerColumns) -> list[Drift]:
    """What is wrong with those of the job's own tables that exist; what `apply_schema` can add is no drift here."""
    found = _Findings(settings, catalogue)
    _refuse_shared_names(found)
    _metadata(found, settings.tables.metadata)
    _log(found)
    _ledger(found, ledger_columns)
    return [drift for drift in found.drift if drift.problem != _NO_TABLE and not drift.problem.startswith(_OLDER)]


def lacking_columns(table: Table, columns: tuple[LedgerColumn, ...]) -> list[LedgerColumn]:
    """The columns that a table of the job's should have and has not."""
    return [column for column in columns if table.column(column.name) is None]


def sidecar_binding(settings: Settings, catalogue: Catalogue, ledger_columns: LedgerColumns) -> Binding:
    """The job's own tables bound, where `sidecar_drift` found nothing; the facts are a stand-in nobody reads."""
    found = _Findings(settings, catalogue)
    metadata = _metadata(found, settings.tables.metadata)
    log, ledger = _log(found), _ledger(found, ledger_columns)
    assert metadata and log and ledger, found.drift
    facts = FactsBinding("facts", "id", True, False, False, None, None, None, None)
    return Binding(facts, None, metadata, log, ledger)


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
    if is_rowid and not table.never_reuses_ids:
        found.absences.append(
            f'{table.name}: "{key}" is used again, for it is declared without AUTOINCREMENT: once the fact with the '
            f"highest one is deleted, the next fact gets it, and the provenance of the other with it. Declare it "
            f"INTEGER PRIMARY KEY AUTOINCREMENT, or look at the stale facts of each report"
        )
    may_be_null = not (is_rowid or table.without_rowid or (column is not None and column.not_null))
    if not optional["source_id"] and not optional["source_url"]:
        found.absences.append(f"{table.name} has neither a source_id nor a source_url: every source_doc will be NULL")
    is_untyped = column is not None and (column.affinity == "BLOB" or column.declared_type.upper() == "ANY")
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
    return SourceBinding(table.name, key, table.rowid_alias == key, url)


def _metadata(found: _Findings, names: MetadataTable) -> MetadataBinding | None:
    table = _table(found, "metadata", names.name, mend=_create_it(found))
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
    table = _table(found, "attestation_log", names.name, mend=_create_it(found))
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


def _require_index(found: _Findings, log: LogBinding) -> None:
    """A run asks the log about every fact that it would write, so the log must be indexed by fact."""
    table = found.catalogue.table(log.table)
    assert table is not None  # it is bound
    if any(index.columns[:1] == (log.fact_id,) and not index.partial for index in table.indexes):
        return
    role = "tables.attestation_log.fact_id"
    mend = f'Create one: CREATE INDEX "ix_{log.table}_{log.fact_id}" ON "{log.table}" ("{log.fact_id}").'
    problem = f'no index begins with "{log.fact_id}", and the log is asked about every fact before it is written'
    found.drift.append(Drift(log.table, problem, found.where(role), mend))


def _ledger(found: _Findings, ledger_columns: LedgerColumns) -> LedgerBinding | None:
    tables = {role: _ledger_table(found, ledger_columns, role) for role in LedgerTables.model_fields}
    bound = {role: table.name for role, table in tables.items() if table}
    return LedgerBinding(**bound) if len(bound) == len(tables) else None


def _ledger_table(found: _Findings, ledger_columns: LedgerColumns, role: str) -> Table | None:
    """One of the job's own tables, with the columns it lacks noted as drift."""
    name: str = getattr(found.settings.tables.ledger, role)
    table = _table(found, f"ledger.{role}", name, mend=_create_it(found))
    lacking = lacking_columns(table, ledger_columns[role]) if table else []
    if table and lacking:
        can_be_added = all(column.declaration for column in lacking)
        problem = _OLDER if can_be_added else "the job's own table lacks"
        mend = f"Add what it lacks with {_apply_schema(found)}."
        if not can_be_added:
            mend = f"Set tables.ledger.{role} to a name that is free, then run {_apply_schema(found)}."
        problem = f"{problem} {', '.join(column.name for column in lacking)}"
        found.drift.append(Drift(table.name, problem, found.where(f"tables.ledger.{role}"), mend))
    return table


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
        mend = mend or _similar_table(found, role, name, key)
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
        mend = mend_column(table, column_role, name, _taken(found, role, column_role))
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
    similar = similar_column(table, column_role, name, taken, cutoff=0.8)
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


def _named_tables(found: _Findings) -> list[str]:
    tables = found.settings.tables
    named = [getattr(tables, role).name for role in ("facts", "source", "metadata", "attestation_log")]
    return [*named, *tables.ledger.model_dump().values()]


def _apply_schema(found: _Findings) -> str:
    return luigi_command(found.settings, "ApplySchema")


def _create_it(found: _Findings) -> str:
    return f"Create it with {_apply_schema(found)}."


def _similar_table(found: _Findings, role: str, name: str, key: str) -> str:
    """The table most likely meant, in a sentence; else those that could be, the likeliest first."""
    others = {_OTHER_JOBS_TABLE} | {other.lower() for other in _named_tables(found) if other != name}
    free = [t for t in found.catalogue.tables if t.kind == "table" and t.name.lower() not in others]
    names = {t.name.lower(): t.name for t in free}
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    if close:
        return f'Did you mean "{names[close[0]]}"? Set {key}: {names[close[0]]}.'
    wanted = {str(c).lower() for c in getattr(found.settings.tables, role).model_dump(exclude={"name"}).values()}
    likely = sorted(free, key=lambda table: (-_likeness(table, name, wanted), table.name))
    more = f" and {len(likely) - _TABLES_SHOWN} more" if len(likely) > _TABLES_SHOWN else ""
    listed = ", ".join(table.name for table in likely[:_TABLES_SHOWN])
    return (
        f"The database has no other table. Set {key}."
        if not free
        else (f"Other tables of the database, the likeliest first: {listed}{more}. Set {key}.")
    )


def _likeness(table: Table, name: str, wanted: set[str]) -> float:
    """How many of the columns that are wanted a table has; where equally many, how near its name is."""
    held = len(wanted & {column.name.lower() for column in table.columns})
    return held + difflib.SequenceMatcher(None, table.name.lower(), name.lower()).ratio()
