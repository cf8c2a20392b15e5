"""What an audit can find, each with what it names first. docs/attestation-log.md says how each is reached.

checkpoint_malformed            the file is no signed checkpoint
checkpoint_unknown_key          no known key for checkpoints has signed it
checkpoint_bad_signature        a known key is named, and its signature does not verify
checkpoint_other_log            --since is the checkpoint of a log of another name
inconsistent                    two signed checkpoints that cannot both be of one log (size)
log_truncated                   the log ends before the checkpoint does (first leaf that is missing)
tile_damaged                    a tile contradicts itself, or the rows that a checkpoint proves (leaf)
row_missing                     a sealed row of the log is gone (leaf)
row_inserted                    a row of the log that was not there when its neighbours were sealed (attestation id)
row_reordered                   a sealed row stands where another one stood (leaf)
row_edited                      a sealed row is not what it was (leaf)
log_rewritten                   the rows do not lead to the signed root, and the tiles were altered too (first leaf
                                that it can be)
stored_checkpoint_damaged       a checkpoint in the database is not what was signed (size)
metadata_missing                a sealed fact has no metadata row (fact)
metadata_malformed              ed25519_sig is neither a signature nor a placeholder (fact)
metadata_downgraded             a placeholder, though the fact's latest leaf holds a signature (fact)
metadata_replayed               the signature of an earlier row of the log (fact)
metadata_replaced               a signature that the fact's latest leaf does not hold (fact)
metadata_edited                 the right signature over other fields than were sealed (fact)
metadata_unlogged               a metadata row without any row in the log (fact)
content_changed                 a leaf attests something else of its fact than the leaf before it, and does not say why
                                (leaf)
rotation_invalid                a key rotation that both keys have not signed (leaf)
signature_<state>               the row's state by its signature is not valid (fact)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class Verdict(str, Enum):
    """One kind of tampering, in the order in which findings are told."""

    CHECKPOINT_MALFORMED = "checkpoint_malformed"
    CHECKPOINT_UNKNOWN_KEY = "checkpoint_unknown_key"
    CHECKPOINT_BAD_SIGNATURE = "checkpoint_bad_signature"
    CHECKPOINT_OTHER_LOG = "checkpoint_other_log"
    INCONSISTENT = "inconsistent"
    LOG_TRUNCATED = "log_truncated"
    TILE_DAMAGED = "tile_damaged"
    ROW_MISSING = "row_missing"
    ROW_INSERTED = "row_inserted"
    ROW_REORDERED = "row_reordered"
    ROW_EDITED = "row_edited"
    LOG_REWRITTEN = "log_rewritten"
    STORED_CHECKPOINT_DAMAGED = "stored_checkpoint_damaged"
    METADATA_MISSING = "metadata_missing"
    METADATA_MALFORMED = "metadata_malformed"
    METADATA_DOWNGRADED = "metadata_downgraded"
    METADATA_REPLAYED = "metadata_replayed"
    METADATA_REPLACED = "metadata_replaced"
    METADATA_EDITED = "metadata_edited"
    METADATA_UNLOGGED = "metadata_unlogged"
    CONTENT_CHANGED = "content_changed"
    ROTATION_INVALID = "rotation_invalid"
    SIGNATURE_MALFORMED = "signature_malformed"
    SIGNATURE_UNKNOWN_KEY = "signature_unknown_key"
    SIGNATURE_UNLOGGED = "signature_unlogged"
    SIGNATURE_DOWNGRADED = "signature_downgraded"
    SIGNATURE_INVALID = "signature_invalid"
    SIGNATURE_REVOKED = "signature_revoked"
    SIGNATURE_UNSIGNED = "signature_unsigned"


_ORDER = {verdict: place for place, verdict in enumerate(Verdict)}
LOG_VERDICTS = frozenset(
    v for v in Verdict if _ORDER[Verdict.INCONSISTENT] <= _ORDER[v] <= _ORDER[Verdict.LOG_REWRITTEN]
)


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it must be. `leaf` counts from 0, and is a size where checkpoints are concerned."""

    verdict: Verdict
    detail: str
    leaf: int | None = None
    attestation_id: int | None = None
    fact_id: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict.value}

    def __str__(self) -> str:
        named = {"leaf": self.leaf, "attestation": self.attestation_id, "fact": self.fact_id}
        places = ", ".join(f"{name} {value}" for name, value in named.items() if value is not None)
        return f"{self.verdict.value}{f' ({places})' if places else ''}: {self.detail}"


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """By verdict, then by leaf, then by fact."""
    return sorted(findings, key=lambda f: (_ORDER[f.verdict], -1 if f.leaf is None else f.leaf, f.fact_id or ""))
