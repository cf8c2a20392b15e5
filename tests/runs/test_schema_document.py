"""A schema.json counts for exactly what it was written for, and for nothing if it is not one of this job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.job.paths import RunPaths
from tasks.runs.schema_document import GatedFor, SchemaDocument, SealingKey, SigningKey, read_gated_for

GATED = {
    "engine": {"name": "any"}, "database": "a.db", "fingerprint": "ab" * 32, "binding_digest": "cd" * 32,
    "absences": ["no notes"], "statements": [{"name": "read"}],
}  # fmt: skip
DOCUMENT = SchemaDocument(
    gated=GATED, warnings=["old"], times="all known", sealing=SealingKey(None, "a.test/log"),
    sealing_statements=[{"name": "seal"}], signing=SigningKey("0123456789abcdef", "a.test/rows"),
)  # fmt: skip


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    found = RunPaths(tmp_path, "run-1", dry_run=False)
    found.schema.parent.mkdir(mode=0o700)
    return found


def test_what_was_written_counts_for_its_schema_and_its_keys(paths: RunPaths) -> None:
    paths.schema.write_text(json.dumps(DOCUMENT.as_json()), encoding="utf-8")
    assert read_gated_for(paths) == GatedFor(
        database="a.db", fingerprint="ab" * 32, binding_digest="cd" * 32, sealing=DOCUMENT.sealing,
        signing=DOCUMENT.signing,
    )  # fmt: skip


def test_what_the_store_tells_comes_first_and_every_statement_is_listed() -> None:
    content = DOCUMENT.as_json()
    assert [*content] == [*GATED, "warnings", "times", "sealing", "signing"]
    assert content["statements"] == [{"name": "read"}, {"name": "seal"}]


def test_no_file_counts_for_nothing(paths: RunPaths) -> None:
    assert read_gated_for(paths) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"fingerprint": "ab"}, {"fingerprint": None}, {"database": 7}, {"binding_digest": "CD" * 32}, {"signing": None},
        {"signing": {"key_id": 7, "key_name": "x"}}, {"sealing": {"key_id": None}}, {"sealing": "a.test/log"},
    ],
)  # fmt: skip
def test_what_this_job_has_not_written_counts_for_nothing(paths: RunPaths, changed: dict[str, Any]) -> None:
    paths.schema.write_text(json.dumps({**DOCUMENT.as_json(), **changed}), encoding="utf-8")
    assert read_gated_for(paths) is None
