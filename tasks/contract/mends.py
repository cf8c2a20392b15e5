"""What to write in the job file instead of a column's name that is not there. Suggestions, never guesses."""

from __future__ import annotations

import difflib

from tasks.contract.catalogue import Table

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
