"""Metadata rows with what the log says of their facts: what verification, signing and evidence read."""

from __future__ import annotations

from support.memory_store.state import State

from tasks.attestation.row_states import MetadataRow
from tasks.attestation.signature_column import PLACEHOLDER, PLACEHOLDER_HEX
from tasks.core.fact_keys import Key, is_before, key_order


def attested_row(state: State, fact_id: str) -> MetadataRow | None:
    """The metadata row of a fact with its latest log row, where there is one."""
    row = state.metadata.get(fact_id)
    if row is None:
        return None
    logged = state.logged(fact_id)
    attestation_id, signature_hex = (logged[-1].attestation_id, logged[-1].signature_hex) if logged else (None, None)
    ever_signed = None
    if row.ed25519_sig == PLACEHOLDER:
        ever_signed = int(any(entry.signature_hex != PLACEHOLDER_HEX for entry in logged))
    return MetadataRow._make((*row[:7], attestation_id, signature_hex, ever_signed))


def fact_ids(state: State, after: Key = None, through: Key = None) -> list[str]:
    """The facts of `(after, through]` that have a metadata row, in key order; None is no bound."""
    found = sorted(state.metadata, key=key_order)
    found = [fact_id for fact_id in found if after is None or is_before(after, fact_id)]
    return [fact_id for fact_id in found if through is None or not is_before(through, fact_id)]
