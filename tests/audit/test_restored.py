"""What was published holds: a restored database is not sealed into a second history, and there is a way on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tasks.attestation.log import notes
from tasks.attestation.log.checkpoints import Checkpoint
from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import KeyRegistry, entry_for
from tasks.attestation.signer import Signer
from tasks.audit.audit import audit
from tasks.audit.report import AuditOrder
from tasks.backfill.attempt import run_chunk
from tasks.backfill.plan_backfill import plan_backfill
from tasks.core.clock import now_text
from tasks.core.errors import SealError
from tasks.job.paths import RunPaths, sign_paths
from tasks.runs.gate import gate_schema
from tasks.sealed_log.history import refuse_unsealable
from tasks.sealed_log.seal import read_seal, seal_log, seal_run
from tasks.stores.sqlite.apply import apply_schema

ROWS = Signer(key_name="provenance-backfill/sample", seed=bytes(range(32)))
LOG = Signer(key_name="provenance-backfill/sample-log", seed=bytes(range(32, 64)))
REGISTRY = KeyRegistry(
    (
        entry_for(VerifierKey(ROWS.key_name, ROWS.public_key), "rows"),
        entry_for(VerifierKey(LOG.key_name, LOG.public_key), "checkpoints"),
    ),
    "the tests",
)


def fill(store: Any, facts: int, start: int = 0) -> None:
    for number in range(start, start + facts):
        store.attest(str(number))


def published(store: Any) -> Path:
    return Path(store.settings.state_dir) / "checkpoints" / quote("provenance-backfill/sample-log", safe="")


# --- a database that was restored -------------------------------------------------------------------


def restored_and_sealed_elsewhere(store: Any, tmp_path: Path) -> None:
    """Sealed to 3 and to 5 leaves; then the copy of 3 comes back, and another host seals it to 4 and to 9."""
    fill(store, 3)
    store.seal()
    older = store.path.read_bytes()
    fill(store, 2, start=3)
    store.seal()
    kept = tmp_path / "kept"
    shutil.move(store.folder / "state", kept)
    store.path.write_bytes(older)
    fill(store, 1, start=10)
    store.seal()
    fill(store, 5, start=20)
    store.seal()
    shutil.rmtree(store.folder / "state")
    shutil.move(kept, store.folder / "state")


def test_a_database_that_was_restored_and_sealed_elsewhere_to_a_larger_size_is_refused(
    store: Any, tmp_path: Path
) -> None:
    restored_and_sealed_elsewhere(store, tmp_path)
    fill(store, 1, start=30)
    with pytest.raises(SealError, match=r"00005\.checkpoint: ATTENTION.*5 leaves was published.*no checkpoint of that"):
        store.seal()
    assert store.execute("SELECT max(tree_size) FROM am_attestation_checkpoint") == [(9,)]


def test_another_checkpoint_of_a_published_size_is_refused_before_it_is_gone_on_from(
    store: Any, tmp_path: Path
) -> None:
    restored_and_sealed_elsewhere(store, tmp_path)
    text = Checkpoint("provenance-backfill/sample-log", 4, bytes(32)).text
    (published(store) / f"{5:020d}.checkpoint").unlink()
    (published(store) / f"{4:020d}.checkpoint").write_bytes(notes.sign(text, LOG).encode())
    with pytest.raises(SealError, match="holds two different checkpoints with it for that size"):
        store.seal()


def test_the_gate_and_every_chunk_look_at_the_published_checkpoints_before_a_row_is_written(
    store: Any, tmp_path: Path
) -> None:
    restored_and_sealed_elsewhere(store, tmp_path)
    with pytest.raises(SealError, match="second history"):
        gate_schema(store.settings, RunPaths(Path(store.settings.state_dir), "r", True))
    with pytest.raises(SealError, match="second history"):
        refuse_unsealable(store.settings, LOG)


def test_a_chunk_does_not_write_where_the_log_could_not_be_gone_on_from(store: Any, tmp_path: Path) -> None:
    store.execute("INSERT INTO am_entity_facts (id, entity_id, field_name) VALUES (1, 'e', 'f')")
    settings = store.settings
    paths = RunPaths(Path(settings.state_dir), "r", False)
    gate_schema(settings, paths)
    plan_backfill(settings, paths, max_rows=None, created_at=now_text())
    text = Checkpoint("provenance-backfill/sample-log", 4, bytes(32)).text
    published(store).mkdir(parents=True, mode=0o700)
    (published(store) / f"{4:020d}.checkpoint").write_bytes(notes.sign(text, LOG).encode())
    with pytest.raises(SealError, match="4 leaves was published, but the database holds 0 sealed leaves"):
        run_chunk(settings, paths, 1, progress=lambda _: None)
    assert store.execute("SELECT count(*) FROM am_fact_metadata") == [(0,)]


def test_the_way_on_after_a_restore_that_lost_what_was_sealed_is_a_new_log_beside_the_old(
    store: Any, tmp_path: Path
) -> None:
    restored_and_sealed_elsewhere(store, tmp_path)
    with pytest.raises(SealError, match=r"new names for sealing.origin, tables.ledger.tile and tables.ledger.checkp"):
        store.seal()
    old = store.settings
    ledger = old.tables.ledger.model_copy(update={"tile": "tile_2", "checkpoint": "checkpoint_2"})
    new = old.model_copy(
        update={
            "tables": old.tables.model_copy(update={"ledger": ledger}),
            "sealing": old.sealing.model_copy(update={"origin": "provenance-backfill/second-log"}),
        }
    )
    apply_schema(new)
    sealed = seal_log(new, run_id=None)
    assert (sealed.state, sealed.tree_size, sealed.new_leaves) == ("sealed", 9, 9)
    note = Path(str(sealed.checkpoint_file)).read_bytes()
    assert audit(new, REGISTRY, AuditOrder(checkpoint=note, allow_unsigned=True)).findings == []
    assert seal_log(new, run_id=None).new_leaves == 0
    assert store.execute("SELECT count(*) FROM am_attestation_checkpoint") == [(3,)]


# --- what cannot be published -----------------------------------------------------------------------


def named(store: Any, origin: str) -> Any:
    settings = store.settings
    return settings.model_copy(update={"sealing": settings.sealing.model_copy(update={"origin": origin})})


@pytest.mark.parametrize("origin", ["法" * 29, "x" * 200, "a/" * 63])
def test_a_log_whose_name_is_too_long_for_a_folder_is_refused_by_the_gate_and_nothing_commits(
    store: Any, origin: str
) -> None:
    settings = named(store, origin)
    is_fine = len(quote(origin, safe="")) <= 255
    fill(store, 3)
    if is_fine:
        assert seal_log(settings, run_id=None).tree_size == 3
        return
    paths = RunPaths(Path(settings.state_dir), "r", True)
    for attempt in (lambda: gate_schema(settings, paths), lambda: seal_log(settings, run_id=None)):
        with pytest.raises(SealError, match=r"whose name has \d+ bytes .* Choose a shorter sealing\.origin"):
            attempt()
    assert store.execute("SELECT count(*) FROM am_attestation_checkpoint") == [(0,)]


def test_nothing_is_sealed_where_no_checkpoint_could_be_published(store: Any) -> None:
    fill(store, 3)
    folder = published(store).parent
    folder.parent.mkdir(mode=0o700)
    folder.touch()
    with pytest.raises(SealError, match=r"cannot be published there|cannot be read"):
        store.seal()
    assert store.execute("SELECT count(*) FROM am_attestation_checkpoint") == [(0,)]


# --- two processes of one run -----------------------------------------------------------------------


def test_two_processes_that_seal_one_run_both_leave_what_was_sealed_for_it(store: Any) -> None:
    paths = RunPaths(Path(store.settings.state_dir), "run-1", False)
    fill(store, 3)
    store.seal()
    fill(store, 5, start=3)
    seal_run(store.settings, paths)
    seal_run(store.settings, paths)
    assert read_seal(store.settings, paths).new_leaves == 5
    fill(store, 1, start=9)
    signing = sign_paths(store.settings.state_dir, "run-1")
    seal_run(store.settings, signing)
    assert (read_seal(store.settings, signing).new_leaves, read_seal(store.settings, paths).new_leaves) == (1, 5)
