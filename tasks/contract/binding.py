"""The contract resolved against one real database: which table and column plays which role.

A binding is all that SQL is ever built from; `contract.resolve` makes it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class FactsBinding:
    """`key_is_number`: keys are integers and never NULL. Otherwise any type may turn up in a row, and where
    `key_is_untyped` even the integer 7 beside the text '7'.
    """

    table: str
    key: str
    key_is_number: bool
    key_is_untyped: bool
    key_may_be_null: bool
    source_id: str | None
    source_url: str | None
    confidence: str | None
    created_at: str | None


@dataclass(frozen=True)
class SourceBinding:
    """`key_is_number`: a fact refers to one source at most, whatever the two compare as equal."""

    table: str
    key: str
    key_is_number: bool
    source_url: str


@dataclass(frozen=True)
class MetadataBinding:
    """`row_number` is a name that the store's own numbers of the rows go by, None where they have none."""

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
    row_number: str | None


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
    batch: str
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
    """The contract with every role resolved to a name that exists. `absences` tells what is not there, in words.

    `follows_changes`: stale facts are residual, because the job file says `derivation.on_change: reattest`.
    """

    facts: FactsBinding
    source: SourceBinding | None
    metadata: MetadataBinding
    log: LogBinding
    ledger: LedgerBinding
    absences: tuple[str, ...] = ()
    follows_changes: bool = False

    @property
    def sidecar(self) -> SidecarBinding:
        """The part without the facts."""
        return SidecarBinding(self.metadata, self.log, self.ledger, self.absences)

    @property
    def digest(self) -> str:
        """SHA-256 over which names play which role: what a fact's record is derived from, and where it goes."""
        roles = {name: value for name, value in asdict(self).items() if name not in ("absences", "follows_changes")}
        return _digest(roles)

    @property
    def tables(self) -> tuple[str, ...]:
        """Every table the job reads or writes."""
        source = (self.source.table,) if self.source else ()
        return (self.facts.table, *source, *self.writable, self.ledger.tile, self.ledger.checkpoint)

    @property
    def writable(self) -> tuple[str, ...]:
        """The only tables that a chunk may ever write to."""
        ledger = self.ledger
        return (self.metadata.table, self.log.table, ledger.run, ledger.chunk, ledger.batch, ledger.reject)


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
        return _digest(asdict(self))


_SPELLED = {"key_is_number": "key_is_rowid", "row_number": "rowid"}
"""How a digest spells a field, where that is not its name: runs planned by an earlier version go on."""


def _digest(roles: dict[str, Any]) -> str:
    def spelled(value: Any) -> Any:
        if isinstance(value, dict):
            return {_SPELLED.get(name, name): spelled(inner) for name, inner in value.items()}
        return value

    return hashlib.sha256(json.dumps(spelled(roles), sort_keys=True).encode()).hexdigest()
