"""The contract against one real database: a binding, or all drift at once.

1. A `Catalogue` is what the database says of itself.
2. `resolve` looks every role of the job file up in it.
3. What does not fit becomes a `Drift` with its mend; nothing is guessed in silence.
4. What fits becomes a `Binding`, the only thing SQL is built from.

Pure functions: no database, no files.
"""

from __future__ import annotations

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
from tasks.contract.catalogue import Catalogue
from tasks.contract.columns import is_usable_key, optional_column, required_column, table_of
from tasks.contract.findings import NO_TABLE, OLDER, Drift, Findings
from tasks.contract.mends import create_it
from tasks.contract.own_tables import LedgerColumns, ledger_binding, ledger_table
from tasks.contract.shared_names import refuse_shared_columns, refuse_shared_names
from tasks.job.sections import FactsTable, MetadataTable
from tasks.job.settings import Settings

_OF_SEALED_LOG = ("tile", "checkpoint")


def resolve(settings: Settings, catalogue: Catalogue, ledger_columns: LedgerColumns) -> Binding | list[Drift]:
    """Resolve the contract. Returns the binding, or all drift (never an empty list)."""
    found = Findings(settings, catalogue)
    tables = settings.tables
    refuse_shared_names(found)
    refuse_shared_columns(found)
    facts = _facts(found, tables.facts)
    source = _source(found) if _has_source_id(found, tables.facts) else None
    metadata = _metadata(found, tables.metadata)
    log = _log(found)
    if log is not None:
        _require_index(found, log)
    ledger = ledger_binding(found, ledger_columns)
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
    found = Findings(settings, catalogue)
    refuse_shared_names(found)
    metadata, log = _metadata(found, settings.tables.metadata), _log(found)
    sealed = {role: ledger_table(found, ledger_columns, role) for role in _OF_SEALED_LOG}
    if found.drift:
        return found.drift
    assert metadata and log  # each missing one has left its drift
    names: dict[str, str] = settings.tables.ledger.model_dump()
    ledger = LedgerBinding(**names | {role: table.name for role, table in sealed.items() if table})
    return SidecarBinding(metadata, log, ledger, tuple(found.absences))


def resolve_attestations(settings: Settings, catalogue: Catalogue) -> AttestationBinding | list[Drift]:
    """Resolve the metadata and the log alone, to read them. Returns the binding, or all drift (never an empty list)."""
    found = Findings(settings, catalogue)
    metadata = _metadata(found, settings.tables.metadata)
    log = _log(found)
    if found.drift:
        return found.drift
    assert metadata and log  # each missing one has left its drift
    sealed = catalogue.table(settings.tables.ledger.tile)
    return AttestationBinding(metadata, log, sealed.name if sealed else None)


def sidecar_drift(settings: Settings, catalogue: Catalogue, ledger_columns: LedgerColumns) -> list[Drift]:
    """What is wrong with those of the job's own tables that exist; what `apply_schema` can add is no drift here."""
    found = Findings(settings, catalogue)
    refuse_shared_names(found)
    _metadata(found, settings.tables.metadata)
    _log(found)
    ledger_binding(found, ledger_columns)
    return [drift for drift in found.drift if drift.problem != NO_TABLE and not drift.problem.startswith(OLDER)]


def sidecar_binding(settings: Settings, catalogue: Catalogue, ledger_columns: LedgerColumns) -> Binding:
    """The job's own tables bound, where `sidecar_drift` found nothing; the facts are a stand-in nobody reads."""
    found = Findings(settings, catalogue)
    metadata = _metadata(found, settings.tables.metadata)
    log, ledger = _log(found), ledger_binding(found, ledger_columns)
    assert metadata and log and ledger, found.drift
    facts = FactsBinding("facts", "id", True, False, False, None, None, None, None)
    return Binding(facts, None, metadata, log, ledger)


def _facts(found: Findings, names: FactsTable) -> FactsBinding | None:
    table = table_of(found, "facts", names.name, mend="")
    if table is None:
        return None
    key = required_column(found, table, "facts", "key", names.key)
    optional = {
        role: optional_column(found, table, "facts", role, getattr(names, role))
        for role in ("source_id", "source_url", "confidence", "created_at")
    }
    if key is None or not is_usable_key(found, table, key, "tables.facts.key"):
        return None
    column = table.column(key)
    is_number = table.numbered_by == key
    if is_number and table.key_reuse is not None:
        found.absences.append(
            f'{table.name}: "{key}" is used again, for {table.key_reuse.why}: once the fact with the highest one is '
            f"deleted, the next fact gets it, and the provenance of the other with it. {table.key_reuse.mend}, or look "
            f"at the stale facts of each report"
        )
    may_be_null = not (is_number or table.primary_key_not_null or (column is not None and column.not_null))
    if not optional["source_id"] and not optional["source_url"]:
        found.absences.append(f"{table.name} has neither a source_id nor a source_url: every source_doc will be NULL")
    is_untyped = column is not None and column.untyped
    return FactsBinding(table.name, key, is_number, is_untyped, may_be_null, **optional)


def _has_source_id(found: Findings, names: FactsTable) -> bool:
    """A source table is needed only where the facts point to one."""
    table = found.catalogue.table(names.name)
    return bool(table and names.source_id and table.column(names.source_id))


def _source(found: Findings) -> SourceBinding | None:
    names = found.settings.tables.source
    table = table_of(found, "source", names.name, mend="")
    if table is None:
        return None
    key = required_column(found, table, "source", "key", names.key)
    url = required_column(found, table, "source", "source_url", names.source_url)
    if key is None or not is_usable_key(found, table, key, "tables.source.key") or url is None:
        return None
    return SourceBinding(table.name, key, table.numbered_by == key, url)


def _metadata(found: Findings, names: MetadataTable) -> MetadataBinding | None:
    table = table_of(found, "metadata", names.name, mend=create_it(found))
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
    required = {
        role: required_column(found, table, "metadata", role, getattr(names, role), writable=True) for role in roles
    }
    optional = {
        role: optional_column(found, table, "metadata", role, getattr(names, role))
        for role in ("created_at", "updated_at")
    }
    fact_id = required["fact_id"]
    if fact_id is not None and not is_usable_key(found, table, fact_id, "tables.metadata.fact_id"):
        return None
    bound = {role: name for role, name in required.items() if name is not None}
    if len(bound) < len(roles):
        return None
    return MetadataBinding(
        table.name,
        row_number=table.row_number,
        created_at=optional["created_at"],
        updated_at=optional["updated_at"],
        **bound,
    )


def _log(found: Findings) -> LogBinding | None:
    names = found.settings.tables.attestation_log
    table = table_of(found, "attestation_log", names.name, mend=create_it(found))
    if table is None:
        return None
    roles = ("attestation_id", "fact_id", "attester", "signature_hex")
    required = {role: required_column(found, table, "attestation_log", role, getattr(names, role)) for role in roles}
    optional = {
        role: optional_column(found, table, "attestation_log", role, getattr(names, role))
        for role in ("signed_at", "notes")
    }
    bound = {role: name for role, name in required.items() if name is not None}
    if len(bound) < len(roles):
        return None
    return LogBinding(table.name, signed_at=optional["signed_at"], notes=optional["notes"], **bound)


def _require_index(found: Findings, log: LogBinding) -> None:
    """A run asks the log about every fact that it would write, so the log must be indexed by fact."""
    table = found.catalogue.table(log.table)
    assert table is not None  # it is bound
    if any(index.columns[:1] == (log.fact_id,) and not index.partial for index in table.indexes):
        return
    role = "tables.attestation_log.fact_id"
    mend = f'Create one: CREATE INDEX "ix_{log.table}_{log.fact_id}" ON "{log.table}" ("{log.fact_id}").'
    problem = f'no index begins with "{log.fact_id}", and the log is asked about every fact before it is written'
    found.drift.append(Drift(log.table, problem, found.where(role), mend))
