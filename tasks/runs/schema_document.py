"""schema.json: what passed the gate, and for which schema and keys that counts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from pydantic import TypeAdapter

from tasks.core import durable
from tasks.core.documents import Digest, typed
from tasks.job.paths import RunPaths


@dataclass(frozen=True)
class SigningKey:
    """The key that signs rows: `key_id` in hex, None where there is none."""

    key_id: str | None
    key_name: str


@dataclass(frozen=True)
class SealingKey:
    """The key that signs checkpoints of the log called `origin`: with one, the statements that seal are gated too."""

    key_id: str | None
    origin: str


@dataclass(frozen=True, kw_only=True)
class SchemaDocument:
    """The content of schema.json. `gated` is what the store tells of itself: see GatedSchema.gate_json."""

    gated: dict[str, Any]
    warnings: list[str]
    times: str
    sealing: SealingKey
    sealing_statements: list[dict[str, Any]]
    signing: SigningKey

    @property
    def absences(self) -> list[str]:
        return list(self.gated["absences"])

    @property
    def statements(self) -> list[dict[str, Any]]:
        """Every statement that was compiled."""
        return [*self.gated["statements"], *self.sealing_statements]

    def as_json(self) -> dict[str, Any]:
        return {
            **self.gated, "statements": self.statements, "warnings": self.warnings, "times": self.times,
            "sealing": asdict(self.sealing), "signing": asdict(self.signing),
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GatedFor:
    """What a schema.json counts for: while all of this is so, the gate need not be passed again."""

    database: str
    fingerprint: Digest
    binding_digest: Digest
    sealing: SealingKey
    signing: SigningKey


_GATED_FOR = TypeAdapter(GatedFor)


def read_gated_for(paths: RunPaths) -> GatedFor | None:
    """What the schema.json of a run counts for; None if it is missing, torn, or none that this job has written."""
    content = durable.read_json(paths.schema, root=paths.state_dir)
    if content is None:
        return None
    try:
        return typed(_GATED_FOR, {field.name: content.get(field.name) for field in fields(GatedFor)})
    except ValueError:
        return None
