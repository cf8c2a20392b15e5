"""The job file: YAML text to frozen Settings.

1. Compose the YAML, so that every key keeps its line.
2. Replace `${NAME}` and `${NAME:-default}` in scalars from the environment.
3. Validate with pydantic: unknown keys and wrong types are errors that name key and line.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError

from tasks.core.errors import NOTHING_WRITTEN, JobFileError
from tasks.core.files import read_bounded
from tasks.core.terminal import cut
from tasks.core.yaml_files import LONGEST, UnreadError, compose
from tasks.job.default_job import advice, to_read
from tasks.job.reading import Reading
from tasks.job.sections import (
    DerivationSettings,
    Name,
    Pacing,
    RehearsalSettings,
    ReportingSettings,
    SealingSettings,
    Section,
    SigningSettings,
    Tables,
)
from tasks.job.sqlite_settings import MOVED, SqliteSettings
from tasks.job.store_place import StorePlace

_NOT_KEYS = ("immutable", "job_file", "key_lines", "variables")
_DECIDES_OUTCOME = ("tables", "derivation")


class Settings(Section):
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
    sqlite: SqliteSettings = SqliteSettings()
    immutable: bool = Field(default=False, exclude=True)
    job_file: str = Field(default="", exclude=True)
    key_lines: Mapping[str, int] = Field(default={}, exclude=True)
    variables: Mapping[str, str] = Field(default={}, exclude=True)

    @property
    def place(self) -> StorePlace:
        """What kind of store it is, and where: for people, and to tell one from another."""
        return StorePlace.of(self.database)

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
    reading = Reading(str(path), variables)
    value, lines = reading.construct(root), reading.lines
    if not isinstance(value, dict):
        raise JobFileError(
            f"expected a mapping of keys, found {type(value).__name__}", where=str(path), written=NOTHING_WRITTEN
        )
    for reserved in _NOT_KEYS:
        if reserved in value:
            raise JobFileError(
                f'unknown key "{reserved}"', where=f"{path} line {lines[reserved]}", written=NOTHING_WRITTEN
            )
    value = _at_its_place(value, lines, path)
    try:
        return Settings.model_validate({**value, "job_file": str(path), "key_lines": lines, "variables": reading.used})
    except ValidationError as error:
        raise JobFileError(_explain(error, path, lines)) from None


def _compose(path: Path) -> yaml.Node:
    try:
        node = compose(read_bounded(path, root=None, limit=LONGEST).decode("utf-8"))
    except FileNotFoundError:
        raise JobFileError(
            f"there is no such job file (looked in {Path.cwd()})",
            where=str(path),
            hint=advice(path),
            written=NOTHING_WRITTEN,
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise JobFileError(
            "the job file cannot be read", where=str(path), seen=str(reason), written=NOTHING_WRITTEN
        ) from None
    except UnreadError as error:
        raise JobFileError(str(error.at(str(path))), written=NOTHING_WRITTEN) from None
    if node is None:
        raise JobFileError("the job file is empty", where=str(path), written=NOTHING_WRITTEN)
    return node


def _at_its_place(value: dict[str, Any], lines: dict[str, int], path: Path) -> dict[str, Any]:
    """The content, and `lines`, with each moved key at its place. Raises JobFileError for one that is there as well."""
    for old, new in MOVED.items():
        (section, name), to = old.split("."), new.partition(".")[0]
        before, after = value.get(section), value.get(to, {})
        if not isinstance(before, dict) or name not in before or not isinstance(after, dict):
            continue
        if name in after:
            raise JobFileError(
                f"{old} is called {new} now, and that is given too (line {lines[new]})",
                where=f"{path} line {lines[old]}", hint="Leave this one out", written=NOTHING_WRITTEN,
            )  # fmt: skip
        rest = {key: one for key, one in before.items() if key != name}
        value, lines[new] = {**value, section: rest, to: {**after, name: before[name]}}, lines[old]
    return value


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
