"""What is known of facts: their provenance as a JSON-LD envelope, and the whole chain with its state for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tasks.attestation.public_keys import KeyRegistry
from tasks.attestation.row_states import Judge, MetadataRow, RowFinding
from tasks.attestation.signature_column import is_signature_present
from tasks.core.fact_keys import describe
from tasks.core.values import NotUtf8
from tasks.stores.protocols.attestations import Attestation, AttestationReader, Provenance

CONTEXT: Final = "https://schema.org/"
TYPE: Final = "Dataset"


def lookup_facts(reader: AttestationReader, fact_ids: Sequence[str]) -> list[dict[str, Any]]:
    """What the envelope says of each known fact, in the order of `fact_ids`. One query, however many there are."""
    known = reader.provenance(fact_ids)
    return [envelope_fact(known[fact_id]) for fact_id in fact_ids if fact_id in known]


def envelope(facts: list[dict[str, Any]]) -> dict[str, Any]:
    """The JSON-LD that goes along with an answer of the API."""
    return {"@context": CONTEXT, "@type": TYPE, "facts": facts}


def envelope_fact(found: Provenance) -> dict[str, Any]:
    """One fact of the envelope; `confidence` only where a bound is known."""
    lower, upper = _plain(found.confidence_lower), _plain(found.confidence_upper)
    confidence = {} if lower is None and upper is None else {"confidence": {"lower": lower, "upper": upper}}
    return {
        "fact_id": found.fact_id,
        "source_doc": _plain(found.source_doc),
        "extracted_at": _plain(found.extracted_at),
        "verified_by": _plain(found.verified_by),
        **confidence,
        "attestation_count": found.attestation_count,
        "latest_signed_at": _plain(found.latest_signed_at),
        "ed25519_sig_present": is_signature_present(found.ed25519_sig),
    }


def _plain(value: Any) -> Any:
    """A value as JSON can say it; bytes that are no text with their odd ones replaced."""
    if isinstance(value, NotUtf8):
        return value.decode("utf-8", "replace")
    return value.hex() if isinstance(value, bytes) else value


@dataclass(frozen=True)
class Explanation:
    """All that is known of one fact. `finding` is None if its row is valid."""

    fact_id: str
    row: MetadataRow
    finding: RowFinding | None
    chain: list[Attestation]


def explain(reader: AttestationReader, registry: KeyRegistry, fact_id: str) -> Explanation | None:
    """What is known of one fact and what its row is worth; None if there is no row."""
    with reader.snapshot():
        found = reader.read_row(fact_id)
        if found is None:
            return None
        row = MetadataRow._make(found)
        judge = Judge(registry, first_id_of_leaf=reader.first_id_of_leaf, logged_before=reader.logged_before)
        return Explanation(fact_id, row, judge.judge(row), reader.chain(fact_id))


def to_text(explanation: Explanation) -> str:
    """An explanation for people, a line each. Nothing from the database is printed raw."""
    row, finding = explanation.row, explanation.finding
    state = "valid" if finding is None else f"{finding.state} ({finding.detail})"
    lines = [
        f"fact {describe(explanation.fact_id)}: {state}",
        f"  source       {_shown(row.source_doc)}",
        f"  extracted    {_shown(row.extracted_at)}",
        f"  verified by  {_shown(row.verified_by)}",
        f"  confidence   {_shown(row.confidence_lower)} to {_shown(row.confidence_upper)}",
        f"  attested     {_times(len(explanation.chain))}",
    ]
    return "\n".join([*lines, *map(_log_line, explanation.chain)])


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")


def _log_line(row: Attestation) -> str:
    hex_digits = row.signature_hex
    zeros = isinstance(hex_digits, str) and not hex_digits.strip("0")
    signature = "a placeholder" if zeros else f"signature {_shown(hex_digits, 16)}"
    notes = "" if row.notes is None else f", {_shown(row.notes)}"
    return f"    {row.attestation_id}: {_shown(row.signed_at)} by {_shown(row.attester)}, {signature}{notes}"


def _shown(value: Any, most: int = 200) -> str:
    """A value on one line of a terminal: text as it is if every character prints, else escaped; cut if it is long."""
    if value is None:
        return "unknown"
    text = _plain(value) if isinstance(value, (str, bytes)) else str(value)
    cut = text if len(text) <= most else f"{text[:most]}…"
    return cut if cut.isprintable() else repr(cut)
