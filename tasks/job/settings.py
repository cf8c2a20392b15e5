"""The job file: YAML text to frozen Settings.

1. Compose the YAML, so that every key keeps its line.
2. Replace `${NAME}` and `${NAME:-default}` in scalars from the environment.
3. Validate with pydantic: unknown keys and wrong types are errors that name key and line.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.core.errors import JobFileError
from tasks.core.files import read_bounded
from tasks.core.terminal import cut, holds_key
from tasks.core.yaml_files import LONGEST, UnreadError, compose, refuse_long_number
from tasks.derivation.rules import Rules
from tasks.derivation.times import CreatedAtAs
from tasks.job.default_job import advice, to_read
from tasks.job.store_place import StorePlace

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}")
_NOT_KEYS = ("immutable", "job_file", "key_lines", "variables")
_PLACES = ("database", "state_dir")
_PERHAPS_A_KEY = (
    "64 hex digits, which may be a private key, where a name or a path belongs. They are not shown. Put a key into the "
    "environment or a file of mode 0600, and name it another way. Nothing was written."
)
_DECIDES_OUTCOME = ("tables", "derivation")

Name = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]
EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FactsTable(_Model):
    """Where the facts are. Optional roles may be None: this store has no such column."""

    name: Name = "am_entity_facts"
    key: Name = "id"
    source_id: Name | None = "source_id"
    source_url: Name | None = "source_url"
    confidence: Name | None = "confidence"
    created_at: Name | None = "created_at"


class SourceTable(_Model):
    """Where sources are; read only if the facts have a `source_id`."""

    name: Name = "am_source"
    key: Name = "id"
    source_url: Name = "source_url"


class MetadataTable(_Model):
    """Where provenance is written: one row per fact."""

    name: Name = "am_fact_metadata"
    fact_id: Name = "fact_id"
    source_doc: Name = "source_doc"
    extracted_at: Name = "extracted_at"
    verified_by: Name = "verified_by"
    confidence_lower: Name = "confidence_lower"
    confidence_upper: Name = "confidence_upper"
    ed25519_sig: Name = "ed25519_sig"
    created_at: Name | None = "created_at"
    updated_at: Name | None = "updated_at"


class AttestationLogTable(_Model):
    """The append-only log: one row per write to the metadata."""

    name: Name = "am_fact_attestation_log"
    attestation_id: Name = "attestation_id"
    fact_id: Name = "fact_id"
    attester: Name = "attester"
    signed_at: Name | None = "signed_at"
    signature_hex: Name = "signature_hex"
    notes: Name | None = "notes"


class LedgerTables(_Model):
    """The job's own tables. Their columns are fixed by tasks/stores/sqlite/schema.sql."""

    run: Name = "am_backfill_run"
    chunk: Name = "am_backfill_chunk"
    batch: Name = "am_backfill_batch"
    reject: Name = "am_backfill_reject"
    tile: Name = "am_attestation_tile"
    checkpoint: Name = "am_attestation_checkpoint"


class Tables(_Model):
    """The contract: which table and column plays which role."""

    facts: FactsTable = FactsTable()
    source: SourceTable = SourceTable()
    metadata: MetadataTable = MetadataTable()
    attestation_log: AttestationLogTable = AttestationLogTable()
    ledger: LedgerTables = LedgerTables()


class DerivationSettings(_Model):
    """What goes into every record. `confidence_width` is half the width of the band, in [0, 1].

    `on_change` says what becomes of stale facts: nothing, or they are updated to what they say now.
    A fact whose source, or whose key, created_at or confidence, has more bytes than these is rejected, unread.
    """

    attester: Annotated[str, Field(min_length=1, max_length=200)] = "etl_prov_backfill_v2"
    confidence_width: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=False)] = 0.05
    created_at_as: CreatedAtAs = "text"
    on_change: Literal["report", "reattest"] = "report"
    longest_source_bytes: Annotated[int, Field(ge=1_000, le=1_000_000)] = 65_536
    longest_value_bytes: Annotated[int, Field(ge=1_000, le=1_000_000)] = 1_024

    def rules(self, default_extracted_at: str) -> Rules:
        """What a fact without a `created_at` of its own was extracted at goes with the run, all else is said here."""
        return Rules(
            confidence_width=self.confidence_width,
            default_extracted_at=default_extracted_at,
            created_at_as=self.created_at_as,
            longest_source=self.longest_source_bytes,
            longest_value=self.longest_value_bytes,
        )


class ReportingSettings(_Model):
    """What a report looks at besides the run's own rows."""

    count_stale: bool = True


class Pacing(_Model):
    """How large the steps are, how long to wait, when to give up. Rows, seconds, database pages, MiB, a share."""

    chunk_rows: Annotated[int, Field(ge=1, le=1_000_000_000)] = 100_000
    batch_rows: Annotated[int, Field(ge=1, le=200_000)] = 25_000
    batch_pause_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False, strict=False)] = 0.0
    lock_timeout_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False, strict=False)] = 30.0
    wal_autocheckpoint_pages: Annotated[int, Field(ge=100, le=10_000_000)] = 20_000
    max_rejects: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=False)] = 0.5
    cache_mib: Annotated[int, Field(ge=1, le=4096)] = 64


class RehearsalSettings(_Model):
    """How a dry run is compared with its live run: by `counts` and key alone, or by the `content` that is attested too.

    For `content` both read every fact: a dry run then takes up to twice the CPU time, and a live run without a key half
    as much again; one that signs reads them anyway.
    """

    compare: Literal["counts", "content"] = "counts"


KeyName = Annotated[str, Field(pattern=r"^[^\s\x00-\x1f+]{1,200}$")]
"""What a signed note can carry: https://c2sp.org/signed-note."""


class SigningSettings(_Model):
    """Where the key is; never the key itself. (A name of 64 characters would be the key put by mistake.)"""

    key_env: EnvironmentName | None = "AUTONOMATH_FACT_SIGN_PRIVATE_KEY"
    key_file: Annotated[str, Field(min_length=1)] | None = None
    key_name: KeyName = "provenance-backfill/sample"
    required: bool = False
    compiled: bool = True


class SealingSettings(_Model):
    """Where the key that signs checkpoints is, and what the log is called. Never the key of the rows.

    `origin` names the log in every checkpoint: one line, unique in the world, the same for ever.
    """

    key_env: EnvironmentName | None = "PROVENANCE_CHECKPOINT_PRIVATE_KEY"
    key_file: Annotated[str, Field(min_length=1)] | None = None
    key_name: KeyName = "provenance-backfill/sample-log"
    origin: KeyName = "provenance-backfill/sample-log"


class Settings(_Model):
    """A whole job file, resolved against one environment.

    `immutable` is no key of it: an auditor says so on the command line, of a copy that nothing writes to. `variables`
    are those of the environment that say where database and state folder are.
    """

    database: Name
    state_dir: Name
    tables: Tables = Tables()
    derivation: DerivationSettings = DerivationSettings()
    pacing: Pacing = Pacing()
    rehearsal: RehearsalSettings = RehearsalSettings()
    reporting: ReportingSettings = ReportingSettings()
    signing: SigningSettings = SigningSettings()
    sealing: SealingSettings = SealingSettings()
    immutable: bool = Field(default=False, exclude=True)
    job_file: str = Field(default="", exclude=True)
    key_lines: Mapping[str, int] = Field(default={}, exclude=True)
    variables: Mapping[str, str] = Field(default={}, exclude=True)

    @property
    def place(self) -> StorePlace:
        """What kind of store it is, and where: for people, and to tell one from another."""
        return StorePlace.of(self.database)

    @property
    def database_path(self) -> Path:
        """The file, of a store that is one."""
        assert self.place.is_file, self.place.scheme
        return Path(self.place.place)

    @property
    def digest(self) -> str:
        """SHA-256 over what decides the outcome of a fact: the tables and the derivation."""
        relevant = {name: getattr(self, name).model_dump() for name in _DECIDES_OUTCOME}
        return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()

    def where(self, key: str) -> str:
        """`config/backfill.yaml line 12`, or the file alone where the key is not written in it."""
        line = self.key_lines.get(key)
        return f"{self.job_file} line {line}" if line else self.job_file


def load_settings(path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Read one job file, or, for the default path, that of the package where there is none.

    Raises JobFileError that names every wrong key with its line; nothing is opened but this file.
    `environ` defaults to the process environment.
    """
    variables = os.environ if environ is None else environ
    path = to_read(path, variables)
    root = _compose(path)
    reading = _Reading(str(path), variables)
    value, lines = reading.construct(root), reading.lines
    if not isinstance(value, dict):
        raise JobFileError(f"{path}: expected a mapping of keys, found {type(value).__name__}. Nothing was written.")
    for reserved in _NOT_KEYS:
        if reserved in value:
            raise JobFileError(f'{path} line {lines[reserved]}: unknown key "{reserved}". Nothing was written.')
    try:
        return Settings.model_validate({**value, "job_file": str(path), "key_lines": lines, "variables": reading.used})
    except ValidationError as error:
        raise JobFileError(_explain(error, path, lines)) from None


def _compose(path: Path) -> yaml.Node:
    try:
        node = compose(read_bounded(path, root=None, limit=LONGEST).decode("utf-8"))
    except FileNotFoundError:
        raise JobFileError(
            f"{path}: there is no such job file (looked in {Path.cwd()}). {advice(path)} Nothing was written."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise JobFileError(f"{path}: the job file cannot be read: {reason}. Nothing was written.") from None
    except UnreadError as error:
        raise JobFileError(f"{error.at(str(path))}. Nothing was written.") from None
    if node is None:
        raise JobFileError(f"{path}: the job file is empty. Nothing was written.")
    return node


@dataclass(frozen=True)
class _Reading:
    """Nodes to plain values, with the line of every key, and the variables that were used for the places of things."""

    path: str
    environ: Mapping[str, str] = field(repr=False)
    lines: dict[str, int] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)

    def construct(self, node: yaml.Node, key: str = "") -> Any:
        """The value of a node, which stands at `key`."""
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            return [self.construct(child, f"{key}[{i}]") for i, child in enumerate(node.value)]
        return self._scalar(node, key)

    def _mapping(self, node: yaml.MappingNode, key: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if holds_key(key_node.value):
                raise JobFileError(f"{self.path} line {line}: {key or 'a key'}: {_PERHAPS_A_KEY}")
            full = f"{key}.{key_node.value}" if key else key_node.value
            if key_node.value in found:
                raise JobFileError(
                    f"{self.path} line {line}: {full} is given twice (first on line {self.lines[full]}). Nothing was "
                    f"written."
                )
            self.lines[full] = line
            found[key_node.value] = self.construct(value_node, full)
        return found

    def _scalar(self, node: yaml.Node, key: str) -> Any:
        """One scalar. A text with a variable in it is typed after the replacement, if it was not quoted."""
        self._refuse_key(node.value, key)
        if not _VARIABLE.search(node.value):
            if "${" in node.value:
                raise self._refused(key, f"{node.value!r} is not ${{NAME}} or ${{NAME:-default}}. Nothing was written.")
            return self._build(node, key)
        text = _VARIABLE.sub(lambda match: self._replacement(match, key), node.value)
        self._refuse_key(text, key)
        if getattr(node, "style", None) in ("'", '"') or key in _PLACES:
            return text
        tag: str = yaml.SafeLoader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        return self._build(yaml.ScalarNode(tag, text), key)

    def _replacement(self, match: re.Match[str], key: str) -> str:
        name, has_default, default = match.group(1), match.group(2), match.group(3)
        value = self.environ.get(name, "")
        if value or (name in self.environ and not has_default):
            if key in _PLACES:
                self.used[name] = value
            return value
        if has_default:
            return default
        raise JobFileError(
            f"{self.path} line {self.lines.get(key, 1)}: {key} needs the environment variable {name}, which is not "
            f"set. Set it, or write ${{{name}:-default}}. Nothing was written."
        )

    def _build(self, node: yaml.Node, key: str) -> Any:
        """The value of a scalar: YAML's own readers of dates, numbers and tags raise all sorts."""
        try:
            refuse_long_number(node.tag, node.value, None, "")
            return yaml.SafeLoader("").construct_object(node, deep=True)
        except UnreadError as error:
            raise self._refused(key, f"{error.reason}. Nothing was written.") from None
        except (yaml.YAMLError, ValueError, AttributeError, TypeError, OverflowError):
            secret = key.startswith(("signing", "sealing"))
            shown = "a value that is not shown" if secret else cut(node.value)
            raise self._refused(key, f"cannot read {shown} as YAML. Put it in quotes. Nothing was written.") from None

    def _refuse_key(self, text: str, key: str) -> None:
        if holds_key(text):
            raise self._refused(key, _PERHAPS_A_KEY)

    def _refused(self, key: str, words: str) -> JobFileError:
        return JobFileError(f"{self.path} line {self.lines.get(key.partition('[')[0], 1)}: {key}: {words}")


def _explain(error: ValidationError, path: Path, lines: Mapping[str, int]) -> str:
    """All faults of a job file, one line each."""
    faults = []
    for fault in error.errors(include_url=False, include_context=False):
        key = ".".join(str(part) for part in fault["loc"])
        line = next((lines[k] for k in _upwards(key) if k in lines), None)
        place = f"{path} line {line}" if line else str(path)
        if fault["type"] == "extra_forbidden":
            faults.append(f'{place}: unknown key "{key}"{_similar(key)}')
        elif fault["type"] == "missing":
            faults.append(f'{place}: the key "{key}" is missing: add "{key}: …"')
        else:
            found = "a value that is not shown" if key.startswith(("signing", "sealing")) else cut(fault["input"])
            faults.append(f"{place}: {key}: {_lower_first(fault['msg'])}, found {found}")
    return "\n".join(faults) + "\nNothing was written."


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _upwards(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def _similar(key: str) -> str:
    """`, did you mean "chunk_rows"?` for a misspelt key, else nothing."""
    import difflib

    model: type[BaseModel] = Settings
    *parents, last = key.split(".")
    for parent in parents:
        field = model.model_fields.get(parent)
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return ""
        model = field.annotation
    known = [name for name in model.model_fields if name not in _NOT_KEYS]
    close = difflib.get_close_matches(last, known, n=1)
    return f', did you mean "{close[0]}"?' if close else f" (known here: {', '.join(known)})"
