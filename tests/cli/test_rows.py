"""`provenance` keygen, public-key, verify and explain: what they print, where, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import load_registry
from tasks.attestation.signer import load_signer
from tasks.cli.main import main

ROOT = Path(__file__).parents[2]
YES, NO, USAGE, NO_ANSWER = 0, 1, 2, 3


@pytest.fixture
def provenance() -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(main, [str(one) for one in arguments], catch_exceptions=False)


@pytest.fixture
def signed(store: Any, settings: Any, run: Any, signing_key: str, tmp_path: Path, provenance: Any) -> Any:
    """(store, job options, keys options) of thirty signed facts whose key is registered."""
    made = store()
    made.add_facts({"id": n, "source_url": f"https://a/{n}", "created_at": "2026-05-01"} for n in range(1, 31))
    loaded = settings(made, small=True)
    run(loaded)
    job = ("--job", loaded.job_file)
    shown = provenance("public-key", *job)
    keys = tmp_path / "keys.yaml"
    keys.write_text("keys:\n" + shown.stdout[shown.stdout.index("  - name") :])
    return made, job, ("--keys", keys)


def test_keygen_makes_a_key_that_the_job_can_use(tmp_path: Path, provenance: Any) -> None:
    path = tmp_path / "new" / "key"
    result = provenance("keygen", path, "--name", "test/rows", "--json")
    assert result.exit_code == YES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    entry = json.loads(result.stdout)
    signer = load_signer(key_name="test/rows", key_env=None, key_file=path, environ={})
    assert signer is not None
    assert entry == {
        "name": "test/rows", "vkey": str(VerifierKey("test/rows", signer.public_key)),
        "key_id": signer.key_id.hex(), "use": "rows", "from_leaf": 0, "until_leaf": None, "state": "active",
    }  # fmt: skip
    assert path.read_text().strip() not in result.output


def test_keygen_prints_an_entry_that_the_registry_takes(tmp_path: Path, provenance: Any) -> None:
    result = provenance("keygen", tmp_path / "key", "--name", "test/log", "--use", "checkpoints")
    keys = tmp_path / "keys.yaml"
    keys.write_text("keys:\n" + result.stdout[result.stdout.index("  - name") : result.stdout.index("\nPrivate key")])
    (entry,) = load_registry(keys).keys
    assert (entry.name, entry.use) == ("test/log", "checkpoints")
    assert result.stdout.startswith(f"{entry.vkey}\n")


def test_keygen_is_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o777)
    try:
        CliRunner().invoke(main, ["keygen", str(tmp_path / "key"), "--name", "a"])
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_keygen_never_overwrites(tmp_path: Path, provenance: Any) -> None:
    path = tmp_path / "key"
    path.write_text("precious")
    result = provenance("keygen", path, "--name", "a")
    assert (result.exit_code, path.read_text()) == (NO_ANSWER, "precious")
    assert "a key is never overwritten" in result.stderr


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\x00b"])
def test_keygen_refuses_a_name_that_no_note_can_carry_before_there_is_a_file(
    name: str, tmp_path: Path, provenance: Any
) -> None:
    result = provenance("keygen", tmp_path / "key", "--name", name)
    assert result.exit_code == NO_ANSWER
    assert not (tmp_path / "key").exists()


def test_two_keys_are_two_keys(tmp_path: Path, provenance: Any) -> None:
    for name in "ab":
        provenance("keygen", tmp_path / name, "--name", "same")
    assert (tmp_path / "a").read_text() != (tmp_path / "b").read_text()


def test_public_key_without_a_key_has_no_answer(store: Any, settings: Any, provenance: Any) -> None:
    result = provenance("public-key", "--job", settings(store()).job_file)
    assert result.exit_code == NO_ANSWER
    assert "is not set" in result.stderr


def test_verify_says_yes_with_0_only_if_every_row_is_valid(signed: Any, provenance: Any) -> None:
    store, job, keys = signed
    result = provenance("verify", *job, *keys)
    assert result.exit_code == YES
    assert result.stdout.endswith("All 30 rows are valid.\n")
    store.execute("UPDATE am_fact_metadata SET source_doc = 'x' WHERE fact_id = '7'")
    result = provenance("verify", *job, *keys)
    assert result.exit_code == NO
    assert "invalid:\n  '7'  the signature does not verify" in result.stdout


def test_verify_counts_the_unsigned_and_accepts_them_only_if_told(signed: Any, provenance: Any) -> None:
    store, job, keys = signed
    store.execute("DELETE FROM am_fact_attestation_log WHERE fact_id = '7'")
    store.execute("UPDATE am_fact_metadata SET ed25519_sig = zeroblob(64) WHERE fact_id = '7'")
    columns = "fact_id, attester, signature_hex"
    store.execute(f"INSERT INTO am_fact_attestation_log ({columns}) VALUES ('7', 'x', '{'0' * 128}')")
    assert provenance("verify", *job, *keys).exit_code == NO
    allowed = provenance("verify", *job, *keys, "--allow-unsigned")
    assert allowed.exit_code == YES
    assert re.search("unsigned +1\n", allowed.stdout)


def test_verify_prints_json_with_every_fact_and_writes_it_to_a_file(
    signed: Any, provenance: Any, tmp_path: Path
) -> None:
    store, job, keys = signed
    store.execute("UPDATE am_fact_metadata SET source_doc = '例え'")
    result = provenance("verify", *job, *keys, "--json", "--output", tmp_path / "verify.json", "--workers", "2")
    assert result.exit_code == NO
    content = json.loads(result.stdout_bytes.decode())
    assert len(content["facts"]) == 30
    assert content["states"]["invalid"] == 30
    assert content["passed"] is False
    assert (tmp_path / "verify.json").read_text(encoding="utf-8") == result.stdout_bytes.decode()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("verify", "--workers", "0"), USAGE, "0 is not in the range"),
        (("verify", "--nonsense"), USAGE, "No such option"),
        (("nonsense",), USAGE, "No such command"),
        (("explain",), USAGE, "Missing argument"),
        (("verify", "--job", "no/such.yaml"), NO_ANSWER, "there is no such job file"),
        (("verify", "--keys", "no/such.yaml"), NO_ANSWER, "there is no such registry"),
    ],
)
def test_what_cannot_be_read_or_answered_has_its_code_and_one_message(
    arguments: tuple[str, ...], code: int, words: str, provenance: Any
) -> None:
    result = provenance(*arguments)
    assert result.exit_code == code
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_a_missing_database_is_no_answer(store: Any, settings: Any, provenance: Any, signed: Any) -> None:
    made, job, keys = signed
    made.path.unlink()
    result = provenance("verify", *job, *keys)
    assert result.exit_code == NO_ANSWER
    assert "there is no such file, and it is never created" in result.stderr


def test_keys_on_the_command_line_stand_in_for_the_registry(signed: Any, provenance: Any) -> None:
    _, job, keys = signed
    vkey = provenance("public-key", *job, "--json").stdout
    trusted = ("--key", json.loads(vkey)["vkey"], "--keys", "no/such.yaml")
    assert provenance("verify", *job, *trusted).exit_code == YES
    assert "valid" in provenance("explain", "7", *job, *trusted).stdout
    refused = provenance("verify", *job, "--key", "a+00000000+AQ==")
    assert refused.exit_code == NO_ANSWER
    other = VerifierKey("other", bytes.fromhex("29acbae141bccaf0b22e1a94d34d0bc7361e526d0bfe12c89794bc9322966dd7"))
    assert provenance("verify", *job, *keys, "--key", str(other)).exit_code == NO


def test_explain_tells_the_fact_its_chain_and_its_state(signed: Any, provenance: Any) -> None:
    store, job, keys = signed
    store.execute("UPDATE am_fact_attestation_log SET notes = 'by hand' WHERE fact_id = '7'")
    result = provenance("explain", "7", "nobody", *job, *keys)
    assert result.exit_code == NO
    assert "fact '7': valid" in result.stdout
    assert "https://a/7" in result.stdout
    assert "attested     once" in result.stdout
    assert ", by hand" in result.stdout
    assert "fact 'nobody': nothing is known of it" in result.stdout
    store.execute("UPDATE am_fact_metadata SET ed25519_sig = zeroblob(64) WHERE fact_id = '7'")
    assert "fact '7': downgraded (a placeholder now" in provenance("explain", "7", *job, *keys).stdout


def test_explain_as_json_is_the_envelope(signed: Any, provenance: Any) -> None:
    _, job, keys = signed
    result = provenance("explain", "9", "7", "9", "--json", *job, *keys)
    assert result.exit_code == YES
    content = json.loads(result.stdout)
    assert set(content) == {"@context", "@type", "facts"}
    assert [fact["fact_id"] for fact in content["facts"]] == ["9", "7"]
    assert provenance("explain", "nobody", "--json", *job, *keys).exit_code == NO


@pytest.mark.parametrize("as_json", [(), ("--json",)])
@pytest.mark.parametrize(
    "damage",
    [
        "source_doc = 'https://b/7'",
        "ed25519_sig = zeroblob(64)",
        "ed25519_sig = zeroblob(80)",
        "confidence_lower = 0.1",
    ],
)
def test_explain_says_no_unless_every_row_is_valid(
    signed: Any, provenance: Any, damage: str, as_json: tuple[str, ...]
) -> None:
    store, job, keys = signed
    assert provenance("explain", "7", "8", *as_json, *job, *keys).exit_code == YES
    stranger = VerifierKey(
        "a stranger's".replace(" ", "-"),
        load_signer(key_name="a", key_env="K", key_file=None, environ={"K": "17" * 32}).public_key,
    )  # type: ignore[union-attr]
    assert provenance("explain", "7", *as_json, *job, "--key", stranger).exit_code == NO
    store.execute(f"UPDATE am_fact_metadata SET {damage} WHERE fact_id = '7'")
    assert provenance("explain", "7", "8", *as_json, *job, *keys).exit_code == NO
    assert provenance("explain", "8", *as_json, *job, *keys).exit_code == YES


def test_a_store_without_a_row_is_no_yes(signed: Any, provenance: Any, tmp_path: Path) -> None:
    store, job, keys = signed
    store.execute("DELETE FROM am_fact_metadata")
    for options in ((), ("--json",), ("--output", str(tmp_path / "v.json"))):
        result = provenance("verify", *job, *keys, *options)
        assert result.exit_code == NO_ANSWER
        assert "am_fact_metadata: it has no row, so nothing was verified and there is no answer." in result.stderr


def test_a_negative_key_is_no_option_and_a_misspelt_option_is_no_key(
    store: Any, settings: Any, run: Any, signing_key: str, tmp_path: Path, provenance: Any
) -> None:
    made = store()
    made.add_facts({"id": n, "source_url": "https://a/", "created_at": "2026-05-01"} for n in (-5, 5))
    loaded = settings(made, small=True)
    run(loaded)
    job = ("--job", loaded.job_file)
    shown = provenance("public-key", *job).stdout.partition("\n")[0]
    result = provenance("explain", "-5", "5", *job, "--key", shown)
    assert result.exit_code == YES
    assert re.findall(r"^fact '(.*)': valid", result.stdout, re.M) == ["-5", "5"]
    assert provenance("explain", *job, "--key", shown, "--", "-5").exit_code == YES
    assert "fact '-5': its attestation" in provenance("prove", "-5", *job).stderr
    for command in ("explain", "prove"):
        wrong = provenance(command, "-x", *job)
        assert wrong.exit_code == USAGE
        assert f"A fact id that begins with a dash stands behind --, as in: {command} -- -x" in wrong.stderr


def test_the_empty_key_is_known_like_any_other(
    store: Any, settings: Any, run: Any, signing_key: str, provenance: Any, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", "18" * 32)
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", "id TEXT PRIMARY KEY"))
    made.add_facts([{"id": "", "source_url": "https://a/", "created_at": "2026-05-01"}])
    loaded = settings(made, small=True)
    run(loaded)
    job = ("--job", loaded.job_file)
    shown = provenance("public-key", *job).stdout.partition("\n")[0]
    log = provenance("public-key", *job, "--use", "checkpoints").stdout.partition("\n")[0]
    explained = provenance("explain", "", *job, "--key", shown)
    assert (explained.exit_code, explained.stdout.partition("\n")[0]) == (YES, "fact '': valid")
    envelope = json.loads(provenance("explain", "", *job, "--key", shown, "--json").stdout)
    assert [fact["fact_id"] for fact in envelope["facts"]] == [""]
    proof = tmp_path / "empty.tlog-proof"
    assert provenance("prove", "", "--output", proof, *job).exit_code == YES
    assert provenance("check", proof, "--key", shown, "--log-key", log).exit_code == YES


@pytest.mark.parametrize("fact_id", ["", "\udcff"])
@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_explain_says_no_to_what_cannot_be_a_fact_id(
    signed: Any, provenance: Any, fact_id: str, as_json: tuple[str, ...]
) -> None:
    _, job, keys = signed
    result = provenance("explain", "7", fact_id, *as_json, *job, *keys)
    assert result.exit_code == NO
    assert as_json or f"fact {fact_id!r}: nothing is known of it" in result.stdout


def test_explain_prints_nothing_raw(signed: Any, provenance: Any) -> None:
    store, job, keys = signed
    store.execute("UPDATE am_fact_metadata SET source_doc = ? WHERE fact_id = '7'", "\x1b]0;owned\x07")
    result = provenance("explain", "7", *job, *keys)
    assert "\x1b" not in result.stdout


def test_every_command_has_help_and_the_group_lists_them_all(provenance: Any) -> None:
    listed = provenance("--help").stdout
    for name, command in main.commands.items():
        result = provenance(name, "--help")
        assert result.exit_code == YES
        assert command.help and name in listed
        assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_every_command_and_exit_code_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    auditing = readme[readme.index("## Auditing") :].partition("\n## ")[0]
    for name in main.commands:
        assert f"provenance {name}" in readme, name
    for code in (YES, NO, USAGE, NO_ANSWER):
        assert f"| {code} |" in auditing


def test_the_console_script_is_declared(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c",
         "import sys; sys.argv[0] = 'provenance'; from tasks.cli import main; main.main()", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.stdout.startswith("Usage: provenance ")
    assert "provenance = tasks.cli.main:main" in (ROOT / "setup.cfg").read_text()


@pytest.mark.parametrize("command", [["keygen", "%s.key", "--name", "a"], ["keygen", "a.key", "--name", "%s"],
    ["rotate", "--new-key-env", "%s"], ["rotate", "--new-key-name", "%s", "--new-key-env", "A"],
    ["verify", "--key", "%s"], ["verify", "--key", "a+b+%s"]])  # fmt: skip
def test_a_private_key_put_in_the_place_of_a_name_is_not_shown(command: list[str], tmp_path: Path) -> None:
    key = "0123456789abcdef" * 4
    result = CliRunner().invoke(main, [one.replace("%s", key) for one in command])
    assert result.exit_code == 3
    assert key not in result.output
