"""A private key is nowhere but where its owner put it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROWS, CHECKPOINTS = "5e7d" * 16, "7c1b" * 16
KEYS = {"AUTONOMATH_FACT_SIGN_PRIVATE_KEY": ROWS, "PROVENANCE_CHECKPOINT_PRIVATE_KEY": CHECKPOINTS}


def spellings() -> list[bytes]:
    """How a key could be written: in hex, either case, or as its bytes."""
    return [form for key in KEYS.values() for form in (key.encode(), key.upper().encode(), bytes.fromhex(key))]


def holders(files: Iterator[Path]) -> list[str]:
    return [str(path) for path in files if path.is_file() and any(form in path.read_bytes() for form in spellings())]


def command_lines() -> bytes:
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(process.read_bytes())
        except OSError:  # it ended
            continue
    return b"\n".join(found)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize("fails", [False, True])
def test_no_key_is_in_a_command_line_a_log_luigids_state_or_any_file(
    store: Any, settings: Any, luigi: Any, luigid: Any, tmp_path: Path, *, fails: bool
) -> None:
    made = store()
    made.add_facts({"id": n, "source_url": f"https://a.test/{n}"} for n in range(1, 51))
    loaded = settings(made, small=True, pacing={"batch_pause_seconds": 0.1})
    run = luigi.start(
        "Report", "--workers", "2", *luigid.arguments, settings=loaded, local_scheduler=False, env=KEYS
    )  # fmt: skip
    luigid.wait_until(lambda: made.count("am_fact_attestation_log"), lambda: str(run.poll()))
    lines = command_lines()
    assert b"Report" in lines  # what is looked through holds the run itself
    assert not any(form in lines for form in spellings())
    if fails:
        made.execute("ALTER TABLE am_entity_facts RENAME COLUMN source_url TO url")
    stdout, stderr = run.communicate(timeout=100)
    assert (run.returncode == 0) is not fails, stderr
    luigid.stop(15)
    assert (luigid.folder / "state.pickle").stat().st_size > 0
    assert not any(form in (stdout + stderr).encode() for form in spellings())
    assert holders(tmp_path.rglob("*")) == []


def test_a_key_that_lies_about_is_found(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"key {ROWS.upper()}")
    assert holders(tmp_path.rglob("*")) == [str(tmp_path / "log")]
