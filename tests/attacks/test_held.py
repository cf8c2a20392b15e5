"""Attacks that never got anywhere, each tried so that none ever does."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tasks.attestation.log.notes import VerifierKey
from tasks.cli.main import main
from tasks.core.errors import DriftError
from tasks.job.signers import log_signer_of, signer_of

DEEP = base64.b64encode(b'{"leaf":' + b"[" * 100_000).decode()


@pytest.fixture
def proof(store: Any, settings: Any, run: Any, signing_key: str, tmp_path: Path, monkeypatch: Any) -> Any:
    """(lines of a proof that holds, the options with both keys to check one)."""
    monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", "33" * 32)
    made = store()
    made.add_facts({"id": n, "source_url": f"https://a.test/{n}", "created_at": "2026-05-01"} for n in range(1, 10))
    loaded = settings(made, small=True)
    run(loaded)
    rows, log = signer_of(loaded), log_signer_of(loaded)
    assert rows and log
    keys = ["--key", str(VerifierKey(rows.key_name, rows.public_key)),
            "--log-key", str(VerifierKey(log.key_name, log.public_key))]  # fmt: skip
    path = tmp_path / "7.tlog-proof"
    made_it = CliRunner().invoke(main, ["prove", "7", "--job", loaded.job_file, "--output", str(path)])
    assert made_it.exit_code == 0, made_it.output
    return path.read_text().split("\n"), keys


def check(proof: Any, tmp_path: Path, lines: list[str]) -> Any:
    path = tmp_path / "handed-in.tlog-proof"
    path.write_text("\n".join(lines))
    return CliRunner().invoke(main, ["check", str(path), *proof[1]])


def test_the_proof_that_is_made_hostile_below_holds(proof: Any, tmp_path: Path) -> None:
    assert check(proof, tmp_path, proof[0]).exit_code == 0


@pytest.mark.parametrize("count", [101, 20_000, 300_000])
def test_signature_lines_without_end_are_refused(proof: Any, tmp_path: Path, count: int) -> None:
    lines = [line for line in proof[0] if line]
    (signature,) = (line for line in lines if line.startswith("— "))
    result = check(proof, tmp_path, [*proof[0][:-1], *[signature] * count, ""])
    assert result.exit_code not in (0, 2) and "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_json_without_a_floor_is_refused(proof: Any, tmp_path: Path) -> None:
    (extra,) = (line for line in proof[0] if line.startswith("extra "))
    result = check(proof, tmp_path, [f"extra {DEEP}" if line == extra else line for line in proof[0]])
    assert result.exit_code not in (0, 2) and "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_statistics_that_lie_are_refused_before_a_batch_scans_for_them(store: Any, settings: Any, run: Any) -> None:
    made = store()
    made.add_facts({"id": n, "source_url": f"https://a.test/{n}"} for n in range(1, 60))
    made.execute("ANALYZE")
    for table in ("am_entity_facts", "am_fact_metadata", "am_fact_attestation_log", "am_source"):
        made.execute(f"DELETE FROM sqlite_stat1 WHERE tbl = '{table}'")
        made.execute(f"INSERT INTO sqlite_stat1 VALUES ('{table}', NULL, '2')")
    made.execute(
        "INSERT INTO sqlite_stat1 SELECT tbl_name, name, '9000000 9000000' FROM sqlite_schema WHERE type = 'index'"
    )
    config = settings(made, small=True)
    with pytest.raises(DriftError, match="run ANALYZE"):
        run(config, dry_run=True)
    with pytest.raises(DriftError, match="run ANALYZE"):
        run(config)
    assert made.count("am_fact_metadata") == made.count("am_fact_attestation_log") == 0
    made.execute("ANALYZE")
    assert run(config, dry_run=True)["rows"] == run(config)["rows"]
    assert made.count("am_fact_metadata") == made.count("am_fact_attestation_log") == 59
