"""The text of every statement of verification and of re-signing.

A golden file holds one statement per section, under a line `-- name (scale)`. After a change that is meant:

    REWRITE_GOLDEN=1 python -m pytest tests/rows/test_sql.py

and read what `git diff tests/rows/golden` says.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

import pytest

from tasks.contract.binding import AttestationBinding
from tasks.stores.sqlite.session import open_session
from tasks.stores.sqlite.sql.attestations import attestation_statements
from tasks.stores.sqlite.sql.resigning import resigning_statements

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("kind", ["canonical", "odd"])
def test_the_statements_are_these(kind: str, store: Any, settings: Any) -> None:
    """odd: names that need quotes, and the optional columns gone."""
    made = store() if kind == "canonical" else store(
        lambda schema: schema.drop_column("am_fact_metadata", "updated_at"),
        lambda schema: schema.drop_column("am_fact_attestation_log", "signed_at"),
        lambda schema: schema.drop_column("am_fact_attestation_log", "notes"),
        lambda schema: schema.rename_table("am_fact_metadata", 'provenance "of" 事実'),
        lambda schema: schema.drop("v_am_fact_attestation_latest", "v_am_fact_explainability"),
    )  # fmt: skip
    names = {} if kind == "canonical" else {"tables": {"metadata": {"name": 'provenance "of" 事実'}}}
    with open_session(settings(made, **names), write=False) as session:
        binding = session.binding
    reader = AttestationBinding(binding.metadata, binding.log, binding.ledger.tile if kind == "canonical" else None)
    statements = (*attestation_statements(reader), *resigning_statements(binding))
    text = "\n".join(f"-- {s.name} ({s.scale}{', writes' if s.writes else ''})\n{s.sql};\n" for s in statements)
    path = GOLDEN / f"{kind}.sql"
    if os.environ.get("REWRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    expected = path.read_text(encoding="utf-8")
    diff = difflib.unified_diff(expected.splitlines(), text.splitlines(), path.name, "built now", lineterm="", n=1)
    assert text == expected, "\n".join(["the statements changed (see the head of this file):", *diff])
