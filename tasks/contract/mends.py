"""What to write in the job file instead of a name that is not there, or to add where there is none. Suggestions, never
guesses.
"""

from __future__ import annotations

import difflib

from tasks.contract.binding import LogBinding
from tasks.contract.catalogue import Table
from tasks.contract.findings import Findings
from tasks.core.errors import NOTHING_WRITTEN, DriftError
from tasks.job.commands import luigi_command

_OTHER_JOBS_TABLE = "am_fact_signature"  # belongs to another job: never written, so never suggested
_TABLES_SHOWN = 12

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
"""Role -> what other stores call such a column."""


def mend_column(table: Table, column_role: str, name: str, taken: set[str]) -> str:
    """What to write in the job file instead of `name`."""
    single = table.primary_key[0] if len(table.primary_key) == 1 else None
    if column_role == "key" and single is not None:
        return f'Its primary key is "{single}": set {column_role}: {single}.'
    similar = similar_column(table, column_role, name, taken)
    if similar is not None:
        return f'Did you mean "{similar}"? Set {column_role}: {similar}.'
    return f"Its columns are {', '.join(column.name for column in table.columns)}."


def similar_column(table: Table, column_role: str, name: str, taken: set[str], *, cutoff: float = 0.6) -> str | None:
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


def taken_columns(found: Findings, role: str, column_role: str) -> set[str]:
    """Columns of this table that play another role already."""
    names = getattr(found.settings.tables, role).model_dump()
    return {name.lower() for other, name in names.items() if other not in ("name", column_role) and name}


def _named_tables(found: Findings) -> list[str]:
    tables = found.settings.tables
    named = [getattr(tables, role).name for role in ("facts", "source", "metadata", "attestation_log")]
    return [*named, *tables.ledger.model_dump().values()]


def apply_schema_command(found: Findings) -> str:
    return luigi_command(found.settings, "ApplySchema")


def create_it(found: Findings) -> str:
    return f"Create it with {apply_schema_command(found)}."


def similar_table(found: Findings, role: str, name: str, key: str) -> str:
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


def refuse_without_notes(log: LogBinding, *, kept: str) -> None:
    """Raise DriftError if the log could not keep what is to be `kept` there, in words."""
    if log.notes is None:
        raise DriftError(
            f'no column "notes", and {kept} is kept there',
            where=log.table,
            hint=f"Add it: ALTER TABLE {log.table} ADD COLUMN notes TEXT",
            written=NOTHING_WRITTEN,
        )
