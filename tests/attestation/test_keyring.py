"""The registry of public keys: what is taken, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import KeyRegistry, RegisteredKey, entry_for, load_registry
from tasks.attestation.signer import Signer
from tasks.core.errors import KeyRegistryError

KEY = VerifierKey("test/rows", Signer(key_name="test/rows", seed=bytes(range(32))).public_key)
LOG_KEY = VerifierKey("test/log", Signer(key_name="test/log", seed=bytes(range(1, 33))).public_key)


def written(tmp_path: Path, *entries: dict[str, Any] | RegisteredKey, text: str | None = None) -> Path:
    path = tmp_path / "keys.yaml"
    plain = [one if isinstance(one, dict) else one.model_dump(exclude={"stores", "logs"}) for one in entries]
    path.write_text(yaml.safe_dump({"keys": plain}, sort_keys=False) if text is None else text, encoding="utf-8")
    return path


def values(**changes: Any) -> dict[str, Any]:
    return {**entry_for(KEY, "rows").model_dump(exclude_none=True), **changes}


def test_an_entry_reads_back_as_it_was_printed(tmp_path: Path) -> None:
    entries = (
        entry_for(KEY, "rows"),
        entry_for(LOG_KEY, "checkpoints", from_leaf=3).model_copy(update={"state": "revoked", "revoked_at_leaf": 9}),
    )
    path = written(tmp_path, text="keys:\n" + "".join(entry.as_yaml() for entry in entries))
    assert load_registry(path) == KeyRegistry(entries, str(path))


def test_key_ids_and_names_that_yaml_would_take_for_numbers_are_quoted(tmp_path: Path) -> None:
    for seed in range(200):
        for name in ("test/rows", "12", "null", "1e5", "鍵"):
            key = VerifierKey(name, Signer(key_name=name, seed=seed.to_bytes(32, "big")).public_key)
            entry = entry_for(key, "rows")
            assert yaml.safe_load(entry.as_yaml())[0] == entry.model_dump(exclude={"revoked_at_leaf", "stores", "logs"})


def test_the_registry_of_the_project_can_be_read() -> None:
    assert load_registry(Path(__file__).parents[2] / "config" / "keys.yaml").keys == ()


def test_keys_are_found_by_use_and_by_id(tmp_path: Path) -> None:
    registry = load_registry(written(tmp_path, entry_for(KEY, "rows"), entry_for(LOG_KEY, "checkpoints")))
    assert [key.name for key in registry.of_use("rows")] == ["test/rows"]
    assert [key.name for key in registry.of_use("checkpoints")] == ["test/log"]
    found = registry.find(LOG_KEY.key_id.hex())
    assert found is not None and found.key == LOG_KEY
    assert registry.find("00" * 8) is None


@pytest.mark.parametrize(
    ("changes", "leaves"),
    [
        ({}, (0, None)),
        ({"from_leaf": 7}, (7, None)),
        ({"state": "superseded", "from_leaf": 2, "until_leaf": 5}, (2, 6)),
        ({"state": "revoked"}, (0, 0)),
        ({"state": "revoked", "from_leaf": 3, "revoked_at_leaf": 5}, (3, 5)),
        ({"state": "revoked", "from_leaf": 3, "revoked_at_leaf": 1}, (3, 3)),
        ({"state": "revoked", "until_leaf": 4, "revoked_at_leaf": 9}, (0, 5)),
    ],
)
def test_the_leaves_in_which_a_key_is_trusted(
    tmp_path: Path, changes: dict[str, Any], leaves: tuple[int, int | None]
) -> None:
    assert load_registry(written(tmp_path, values(**changes))).keys[0].trusted_leaves == leaves


LOW_ORDER = "test/rows+00000000+AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "other"}, "name 'other', but the vkey is that of 'test/rows'"),
        ({"key_id": "00" * 8}, "key_id 0000000000000000, but name and public key give"),
        ({"key_id": "zz"}, "key_id: "),
        ({"key_id": 12}, "key_id: "),
        ({"vkey": "nonsense"}, "expected <name>+<key id>+<base64>"),
        ({"vkey": LOW_ORDER}, "low order"),
        ({"use": "both"}, "use: "),
        ({"state": "retired"}, "state: "),
        ({"from_leaf": -1}, "from_leaf: "),
        ({"from_leaf": True}, "from_leaf: "),
        ({"until_leaf": 5}, "an active key has no until_leaf"),
        ({"state": "superseded"}, "a superseded key needs until_leaf"),
        ({"state": "superseded", "from_leaf": 5, "until_leaf": 4}, "until_leaf 4 is before from_leaf 5"),
        ({"revoked_at_leaf": 3}, "revoked_at_leaf is given, but the state is active"),
        ({"colour": "red"}, 'unknown key "colour"'),
    ],
)
def test_an_entry_that_contradicts_itself_is_refused_with_its_line(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(KeyRegistryError) as caught:
        load_registry(written(tmp_path, entry_for(LOG_KEY, "checkpoints"), values(**changes)))
    assert "keys.yaml line 10: " in str(caught.value)
    assert words in str(caught.value)


def test_an_entry_without_its_vkey_is_refused(tmp_path: Path) -> None:
    entry = values()
    del entry["vkey"]
    with pytest.raises(KeyRegistryError, match='the key "vkey" is missing'):
        load_registry(written(tmp_path, entry))


def test_one_key_is_never_for_rows_and_for_checkpoints(tmp_path: Path) -> None:
    same = VerifierKey("test/log", KEY.public_key)
    with pytest.raises(KeyRegistryError, match="the public key of line 2 again"):
        load_registry(written(tmp_path, entry_for(KEY, "rows"), entry_for(same, "checkpoints")))


def test_a_key_is_registered_once(tmp_path: Path) -> None:
    with pytest.raises(KeyRegistryError, match="is registered already"):
        load_registry(written(tmp_path, entry_for(KEY, "rows"), entry_for(KEY, "rows", from_leaf=5)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected the one key `keys`"),
        ("[]", "expected the one key `keys`"),
        ("keys: 5", "expected the one key `keys`"),
        ("keys: []\nmore: 1", "expected the one key `keys`"),
        ("keys: [1]", "line 1: "),
        ("keys: [", "not YAML"),
        ("keys: &a [*a]", "line 1: an alias (*), and none is followed"),
        ("keys: " + "[" * 5000, "line 1: nested deeper than any key"),
        ("keys: []\nkeys: []", "keys is given twice"),
        ("keys:\n- name: a\n  name: b", "line 3: name is given twice"),
    ],
)
def test_a_file_that_is_no_registry_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(KeyRegistryError) as caught:
        load_registry(written(tmp_path, text=text))
    assert words in str(caught.value)
    assert str(caught.value).endswith("Nothing was verified.")


def test_an_empty_list_is_a_registry_without_keys(tmp_path: Path) -> None:
    assert load_registry(written(tmp_path, text="keys:\n")).keys == ()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyRegistryError, match=r"nope\.yaml: there is no such registry"):
        load_registry(tmp_path / "nope.yaml")


def test_the_digest_tells_one_registry_from_another() -> None:
    entry = entry_for(KEY, "rows")
    revoked = entry.model_copy(update={"state": "revoked"})
    assert KeyRegistry((entry,)).digest != KeyRegistry((revoked,)).digest
    assert KeyRegistry((entry,), "a").digest == KeyRegistry((entry,), "b").digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("keys:\n- &a {name: a}\n- *a\n", "line 3: an alias (*), and none is followed"),
        ("a: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"b{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)), "line 2: an alias"),
        ("keys:\n- {from_leaf: 1" + "0" * 5000 + "}\n", "line 2: from_leaf: a number of 5,001 characters"),
        ("keys:\n- {from_leaf: 2026-99-99}\n", "line 2: a value that cannot be read"),
        ("keys:\n- {? [a] : b}\n", "line 2: a key that is no text"),
    ],
)  # fmt: skip
def test_a_registry_is_read_in_bounded_time_and_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(KeyRegistryError) as caught:
        load_registry(written(tmp_path, text=text))
    assert words in str(caught.value)


@pytest.mark.parametrize("member", ["name", "vkey", "key_id", "use", "state", "from_leaf", "other"])
def test_a_private_key_put_into_the_registry_is_not_shown(tmp_path: Path, member: str) -> None:
    key = "0123456789abcdef" * 4
    entries = (f"keys:\n- {{{member}: '{key}'}}\n", f"keys:\n- {{'{key}': 1, '{key}': 2}}\n", f"keys: ['{key}', &x]")
    for text in entries:
        with pytest.raises(KeyRegistryError) as caught:
            load_registry(written(tmp_path, text=text))
        assert key not in str(caught.value)
