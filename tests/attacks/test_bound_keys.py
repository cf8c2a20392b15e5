"""A job file that somebody hands to a process with keys gets nothing signed: keys are bound to their store and log."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import entry_for, load_registry
from tasks.attestation.signer import Signer
from tasks.backfill import attempt
from tasks.backfill.attempt import run_chunk
from tasks.cli.main import main
from tasks.core.errors import KeyRegistryError, ProvenanceError, SigningKeyError
from tasks.job import key_uses
from tasks.job.paths import RunPaths, sign_paths
from tasks.job.settings import Settings, load_settings
from tasks.job.signers import log_signer_of, signer_of
from tasks.rows import sign_pending
from tasks.runs.gate import gate_schema
from tasks.sealed_log import seal
from tasks.sealed_log.rotate import rotate
from tasks.sealed_log.seal import seal_log

ROWS, THIRD = (Signer(key_name="test/key", seed=bytes([n]) * 32) for n in (0x5E, 0x33))
ROWS_ENV, LOG_ENV = "AUTONOMATH_FACT_SIGN_PRIVATE_KEY", "PROVENANCE_CHECKPOINT_PRIVATE_KEY"
ORIGIN = "ours.test/log"


@pytest.fixture
def ours(store: Any, settings: Any) -> Any:
    """(store, settings) of the victim."""
    return _made(store, settings, "ours")


@pytest.fixture
def theirs(store: Any, settings: Any) -> Any:
    """(store, settings) of the attacker: the same origin, his database, his state folder."""
    return _made(store, settings, "theirs")


def _made(store: Any, settings: Any, name: str) -> Any:
    made = store(name=f"{name}.db")
    made.add_facts({"id": n, "source_url": f"https://{name}.test/{n}"} for n in range(1, 12))
    return made, settings(made, small=True, state_dir=f"{name}-state", sealing={"origin": ORIGIN})


@pytest.fixture
def in_environment(monkeypatch: pytest.MonkeyPatch, ours: Any) -> dict[str, str]:
    """Both keys in the environment, each bound to the victim's store, and the one for checkpoints to his log."""
    variables = {
        ROWS_ENV: "5e" * 32, f"{ROWS_ENV}_SIGNS": f"store={ours[0].path}",
        LOG_ENV: "7c" * 32, f"{LOG_ENV}_SIGNS": f"store={ours[0].path};log={ORIGIN}",
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def key_file(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def with_files(settings: Settings, rows: Path, log: Path) -> Settings:
    """The same job file, with both keys in files."""
    content = yaml.safe_load(Path(settings.job_file).read_text())
    content["signing"] = {**content.get("signing", {}), "key_file": str(rows)}
    content["sealing"] = {**content.get("sealing", {}), "key_file": str(log)}
    Path(settings.job_file).write_text(yaml.safe_dump(content))
    return load_settings(Path(settings.job_file), {})


@pytest.fixture
def any_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans that let every chunk begin: they are not what holds the attack up here."""
    plan = SimpleNamespace(chunk=lambda number: SimpleNamespace(chunk=number))
    for module in (attempt, sign_pending):
        monkeypatch.setattr(module, "require_plan", lambda *_: plan)
        monkeypatch.setattr(module, "read_marker", lambda *_: None)


def steps(settings: Settings) -> dict[str, Callable[[], object]]:
    """All that signs, as Luigi would call it, and the gate before it."""
    paths = RunPaths(Path(settings.state_dir), "run-1", False)
    sign = sign_paths(settings.state_dir, "run-1")
    return {
        "the gate": lambda: gate_schema(settings, paths),
        "the gate of a dry run": lambda: gate_schema(settings, paths.of_mode(dry_run=True)),
        "a chunk": lambda: run_chunk(settings, paths, 1, progress=lambda _: None),
        "a seal": lambda: seal_log(settings, run_id=None),
        "planning to sign": lambda: sign_pending.plan_signing(settings, sign),
        "a chunk of signing": lambda: sign_pending.run_chunk(settings, sign, 1, progress=lambda _: None),
    }


def assert_nothing_is_signed(theirs: Any, dump: Any, words: str) -> None:
    """Each step ends with a SigningKeyError that names key, seen and expected; the database stays as it is."""
    made, settings = theirs
    before = dump(made.path)
    for name, step in steps(settings).items():
        with pytest.raises(SigningKeyError) as caught:
            step()
        message = str(caught.value)
        assert words in message and message.endswith("Nothing was written."), (name, message)
        assert "5e5e5e" not in message and "7c7c7c" not in message
        assert dump(made.path) == before, name


# -- the attack ----------------------------------------------------------------------------------------


def test_keys_in_the_environment_sign_nothing_of_another_store(
    theirs: Any, in_environment: Any, any_plan: None, dump: Any
) -> None:
    assert_nothing_is_signed(theirs, dump, f"the database of {theirs[1].job_file} is {theirs[0].path}")


def test_keys_in_files_sign_nothing_of_another_store(
    ours: Any, theirs: Any, any_plan: None, dump: Any, tmp_path: Path
) -> None:
    rows = key_file(tmp_path / "rows.key", f"{'5e' * 32}\nstore: {ours[0].path}\n")
    log = key_file(tmp_path / "log.key", f"{'7c' * 32}\nlog: {ORIGIN}\nstore: {ours[0].path}\n")
    made, settings = theirs
    assert_nothing_is_signed((made, with_files(settings, rows, log)), dump, f"the store {ours[0].path}, and")


def test_the_command_line_with_the_job_file_of_an_attacker_signs_nothing(
    luigi: Any, theirs: Any, in_environment: Any, dump: Any
) -> None:
    made, settings = theirs
    before = dump(made.path)
    for task in ("Report", "SignPending"):
        finished = luigi(task, settings=settings, env=in_environment)
        assert finished.code != 0
        assert "binds it to the store" in finished.output and "Traceback" not in finished.output
        assert dump(made.path) == before


def test_a_row_key_signs_no_checkpoint_and_a_checkpoint_key_no_row(
    ours: Any, in_environment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Path(ours[1].job_file)
    swapped = {
        **yaml.safe_load(job.read_text()), "signing": {"key_env": LOG_ENV},
        "sealing": {"key_env": ROWS_ENV, "origin": ORIGIN},
    }  # fmt: skip
    monkeypatch.setenv(f"{LOG_ENV}_SIGNS", f"log={ORIGIN}")
    job.write_text(yaml.safe_dump(swapped))
    settings = load_settings(job, {})
    with pytest.raises(SigningKeyError, match="binds it to no store"):
        signer_of(settings)
    with pytest.raises(SigningKeyError, match="binds it to no log"):
        log_signer_of(settings)


def test_a_checkpoint_key_signs_no_other_log(ours: Any, in_environment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{LOG_ENV}_SIGNS", "log=another.test/log;log=third.test/log")
    with pytest.raises(SigningKeyError) as caught:
        seal_log(ours[1], run_id=None)
    assert "binds it to the logs another.test/log, third.test/log, and sealing.origin of" in str(caught.value)
    assert ours[0].count("am_attestation_checkpoint") == 0


@pytest.mark.parametrize("step", ["a chunk", "a chunk of signing", "a seal", "a rotation"])
def test_a_link_that_is_turned_after_the_key_was_taken_leads_to_nothing(
    step: str, ours: Any, theirs: Any, in_environment: Any, any_plan: None, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, dump: Any,
) -> None:  # fmt: skip
    link = tmp_path / "link.db"
    link.symlink_to(ours[0].path)
    settings = ours[1].model_copy(update={"database": str(link)})
    before = dump(theirs[0].path)
    signer, log_signer = signer_of(settings), log_signer_of(settings)
    assert signer is not None
    link.unlink()
    link.symlink_to(theirs[0].path)
    for module in (attempt, sign_pending):
        monkeypatch.setattr(module, "signer_of", lambda _: signer)
    for module in (attempt, seal):
        monkeypatch.setattr(module, "log_signer_of", lambda _: log_signer)
    rotation = partial(rotate, settings, signer, THIRD, now="2026-05-12T01:23:45.000Z")
    with pytest.raises(SigningKeyError, match="a link on the way to it was turned"):
        {**steps(settings), "a rotation": rotation}[step]()
    assert dump(theirs[0].path) == before


# -- what goes on as before ----------------------------------------------------------------------------


@pytest.mark.parametrize("linked", ["the job's", "the key's"])
def test_a_bound_key_signs_and_seals_its_own_store_whatever_links_lead_there(
    linked: str, ours: Any, in_environment: Any, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, settings = ours
    link = tmp_path / "link.db"
    link.symlink_to(made.path)
    if linked == "the job's":
        settings = settings.model_copy(update={"database": str(link)})
    else:
        monkeypatch.setenv(f"{ROWS_ENV}_SIGNS", f"\nstore=/elsewhere.db ; store = {link}\n")
    run(settings)
    assert {bytes(row[0])[-8:] for row in made.execute("SELECT ed25519_sig FROM am_fact_metadata")} == {
        signer_of(settings).key_id  # type: ignore[union-attr]
    }
    assert made.count("am_attestation_checkpoint") == 1


def test_an_unbound_key_signs_and_the_gate_says_in_one_line_how_to_bind_it(
    ours: Any, in_environment: Any, run: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made, settings = ours
    for name in (ROWS_ENV, LOG_ENV):
        monkeypatch.delenv(f"{name}_SIGNS")
    run(settings)
    told = [record.getMessage() for record in caplog.records if "bound to no store" in record.getMessage()]
    assert len(told) == 1
    assert f"{ROWS_ENV}_SIGNS=store={made.path}" in told[0]
    assert f"{LOG_ENV}_SIGNS='store={made.path};log={ORIGIN}'" in told[0]
    caplog.clear()
    monkeypatch.setenv(f"{ROWS_ENV}_SIGNS", f"store={made.path}")
    monkeypatch.setenv(f"{LOG_ENV}_SIGNS", f"store={made.path};log={ORIGIN}")
    run(settings, run_id="run-2")
    Path(f"{made.path}.sample.json").write_text("{}")
    monkeypatch.delenv(f"{ROWS_ENV}_SIGNS")
    run(settings, run_id="run-3")
    assert "bound to no store" not in caplog.text


def test_where_bound_keys_are_required_an_unbound_one_signs_nothing_and_keyless_runs_go_on(
    ours: Any, run: Any, in_environment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVENANCE_REQUIRE_BOUND_KEYS", "1")
    assert signer_of(ours[1]) and log_signer_of(ours[1])
    monkeypatch.setenv(f"{LOG_ENV}_SIGNS", f"log={ORIGIN}")
    with pytest.raises(SigningKeyError, match=r"sealing key .* bound to no store"):
        log_signer_of(ours[1])
    monkeypatch.delenv(f"{ROWS_ENV}_SIGNS")
    with pytest.raises(SigningKeyError, match=r"signing key .* bound to no store"):
        signer_of(ours[1])
    monkeypatch.setenv("PROVENANCE_REQUIRE_BOUND_KEYS", "yes")
    with pytest.raises(SigningKeyError, match="neither 0 nor 1"):
        signer_of(ours[1])
    for name in (ROWS_ENV, LOG_ENV):
        monkeypatch.delenv(name)
    assert run(ours[1])["rows"]["inserted"] == 11


# -- the registry --------------------------------------------------------------------------------------


def test_the_registry_binds_a_key_too_and_all_that_bind_it_must_agree(
    ours: Any, theirs: Any, in_environment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = tmp_path / "here" / "config" / "keys.yaml"
    registry.parent.mkdir(parents=True)
    monkeypatch.chdir(registry.parents[1])
    entry = entry_for(VerifierKey("another/name", ROWS.public_key), "rows")

    def write(*stores: str) -> None:
        registry.write_text(f"keys:\n{entry.model_copy(update={'stores': stores}).as_yaml()}")

    write(str(ours[0].path))
    monkeypatch.delenv(f"{ROWS_ENV}_SIGNS")
    assert signer_of(ours[1])
    with pytest.raises(SigningKeyError, match=r"the entry of the key in config/keys\.yaml binds it to the store"):
        signer_of(theirs[1])
    write("/data/elsewhere.db", str(theirs[0].path))
    monkeypatch.setenv(f"{ROWS_ENV}_SIGNS", f"store={ours[0].path}")
    for settings in (ours[1], theirs[1]):
        with pytest.raises(SigningKeyError):
            signer_of(settings)
    write("relative.db")
    with pytest.raises(KeyRegistryError, match="stores, store 1: it is no absolute path"):
        signer_of(ours[1])


def test_a_rotation_carries_the_binding_on(ours: Any, in_environment: Any) -> None:
    signer = signer_of(ours[1])
    assert signer is not None
    done = rotate(ours[1], signer, THIRD, now="2026-05-12T01:23:45.000Z")
    old = entry_for(VerifierKey(signer.key_name, signer.public_key), "rows", binding=signer.binding)
    assert [entry.stores for entry in done.entries("rows", old)] == [(str(ours[0].path),)] * 2


# -- what is written ill -------------------------------------------------------------------------------

ILL = ["", " ; ", "x", "store", "store=", "store=relative.db", "log=a b", "log=a+b", "Store=/a.db", "store:/a.db",
       "store=/a.db;5e", f"store=/{'5e' * 32}", f"{'5e' * 32}", "store=/a\0.db"]  # fmt: skip


@pytest.mark.parametrize("text", ILL)
def test_a_binding_that_cannot_be_read_is_no_binding_to_anything_and_is_not_shown(
    text: str, ours: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "\0" not in text:
        monkeypatch.setenv(ROWS_ENV, "5e" * 32)
        monkeypatch.setenv(f"{ROWS_ENV}_SIGNS", text)
        assert f"{ROWS_ENV}_SIGNS" in _refusal(ours[1])
    if ";" not in text and text:
        monkeypatch.delenv(ROWS_ENV, raising=False)
        lines = text.replace("=", "\n" if text == "store:/a.db" else ": ").replace("store:/a.db", "store=/a.db")
        path = key_file(tmp_path / "rows.key", f"{'5e' * 32}\nstore: {ours[0].path}\n{lines}\n")
        assert "rows.key line 3" in _refusal(with_files(ours[1], path, path))


def _refusal(settings: Settings) -> str:
    with pytest.raises(ProvenanceError) as caught:
        signer_of(settings)
    message = str(caught.value)
    assert type(caught.value) is SigningKeyError
    assert "5e5e5e" not in message and message.endswith("Nothing was written.")
    return message


def test_lines_below_the_key_that_are_not_utf8_are_refused(ours: Any, tmp_path: Path) -> None:
    path = key_file(tmp_path / "rows.key", "")
    path.write_bytes(b"5e" * 32 + b"\nstore: /a\xff.db\n")
    assert "not UTF-8" in _refusal(with_files(ours[1], path, path))


# -- keygen and public-key -----------------------------------------------------------------------------


def provenance(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments], catch_exceptions=False)


def test_keygen_binds_the_key_and_prints_the_entry_and_public_key_does_too(ours: Any, tmp_path: Path) -> None:
    link, path, log = tmp_path / "link.db", tmp_path / "rows.key", tmp_path / "log.key"
    link.symlink_to(ours[0].path)
    made = provenance("keygen", path, "--name", "a", "--store", os.path.relpath(link))
    assert made.exit_code == 0, made.output
    assert path.read_text().splitlines()[1:] == [f"store: {ours[0].path}"]
    assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "keys.yaml").write_text("keys:\n" + made.output[made.output.index("  - ") :].partition("\n\n")[0])
    assert load_registry(tmp_path / "keys.yaml").keys[0].stores == (str(ours[0].path),)
    provenance("keygen", log, "--name", "b", "--use", "checkpoints", "--log", ORIGIN, "--store", link)
    settings = with_files(ours[1], path, log)
    assert signer_of(settings) and log_signer_of(settings)
    shown = provenance("public-key", "--use", "checkpoints", "--job", settings.job_file)
    assert f"stores: [{ours[0].path}]\n    logs: [{ORIGIN}]" in shown.output
    assert path.read_text().splitlines()[0] not in made.output + shown.output


@pytest.mark.parametrize(
    "options",
    [("--log", "a.test/log"), ("--use", "checkpoints", "--store", "/a.db"), ("--store", "/a\nlog: b"),
     ("--use", "checkpoints", "--log", "a b"), ("--store", f"/{'5e' * 32}"), ("--store", "")],
)  # fmt: skip
def test_keygen_refuses_a_binding_that_the_key_could_not_be_used_with(options: Any, tmp_path: Path) -> None:
    result = provenance("keygen", tmp_path / "key", "--name", "a", *options)
    assert (result.exit_code, (tmp_path / "key").exists()) == (3, False), result.output
    assert "There is no new key" in result.output and "5e5e5e" not in result.output


@pytest.mark.parametrize(
    ("use", "line", "words"),
    [("rows", "store: /data/elsewhere.db", "the store /data/elsewhere.db, and the database of"),
     ("checkpoints", "log: another.test/log", "the log another.test/log, and sealing.origin of")],
)  # fmt: skip
def test_rotate_refuses_a_new_key_that_is_bound_elsewhere(
    use: str, line: str, words: str, ours: Any, in_environment: Any, tmp_path: Path, dump: Any
) -> None:
    new = key_file(tmp_path / "new.key", f"{'33' * 32}\n{line}\n")
    before = dump(ours[0].path)
    options = ("--new-key-file", new, "--job", ours[1].job_file, "--keys", tmp_path / "none.yaml")
    result = provenance("rotate", "--use", use, *options)
    assert result.exit_code == 3 and f"{new} binds it to {words}" in result.output, result.output
    assert dump(ours[0].path) == before
    assert key_uses.bindings_of(THIRD) == ()
