"""Many hashes at once: those of hashlib, whoever makes them."""

from __future__ import annotations

import json
import platform
import shutil
import sysconfig
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.attestation.fast import batch_hashing
from tasks.attestation.fast.batch_hashing import (
    DIGEST,
    find_compiled,
    plain_hash_each,
    plain_hash_rows,
    plain_perfect_root,
)
from tasks.core.values import NotUtf8

BLOCK = 64
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
ROW = st.tuples(st.integers(-(2**63), 2**63 - 1), TEXT | st.none(), TEXT | st.none())
PART = st.one_of(TEXT, st.integers(0, 2), st.just(DIGEST))
HASH = st.binary(min_size=32, max_size=32) | st.just(bytes(32))


def naive_hashes(template: tuple[Any, ...], rows: list[Any], digests: list[bytes]) -> bytes:
    hashes = b""
    for row, digest in zip(rows, digests, strict=True):
        values = {column: json.dumps(value, ensure_ascii=False) for column, value in enumerate(row)}
        values[DIGEST] = "null" if digest == bytes(32) else f'"{digest.hex()}"'
        hashes += sha256("".join(values.get(part, part) for part in template).encode()).digest()
    return hashes


def naive_root(hashes: list[bytes]) -> bytes:
    if len(hashes) == 1:
        return hashes[0]
    half = len(hashes) // 2
    return sha256(b"\x01" + naive_root(hashes[:half]) + naive_root(hashes[half:])).digest()


@pytest.fixture(params=["compiled", "plain"], scope="module")
def hasher(request: pytest.FixtureRequest) -> Any:
    if request.param == "plain":
        return SimpleNamespace(hash_each=plain_hash_each, hash_rows=plain_hash_rows, perfect_root=plain_perfect_root)
    found = find_compiled()
    if found is None:
        pytest.skip("no compiled hasher here")
    return found


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_messages_are_hashed_as_hashlib_does(hasher: Any, messages: list[bytes]) -> None:
    assert hasher.hash_each(messages) == b"".join(sha256(message).digest() for message in messages)


@pytest.mark.parametrize("messages", [["text"], [b"", None], 17])
def test_what_are_no_messages_is_refused(hasher: Any, messages: Any) -> None:
    with pytest.raises(TypeError):
        hasher.hash_each(messages)


@given(template=st.lists(PART, max_size=6), rows=st.lists(st.tuples(ROW, HASH), max_size=4))
def test_rows_are_hashed_as_json_spells_them(
    hasher: Any, template: list[str | int], rows: list[tuple[Any, bytes]]
) -> None:
    some, digests = [row for row, _ in rows], [digest for _, digest in rows]
    assert hasher.hash_rows(tuple(template), some, b"".join(digests)) == naive_hashes(tuple(template), some, digests)


def test_every_character_is_escaped_as_json_does(hasher: Any) -> None:
    rows = [(0, "x" * (number % 3) + chr(number)) for number in range(0x250)]
    rows += [(0, character * 2) for character in "\ud7ff\ue000\uffff\u2028😀\U0010ffff"]
    digests = [bytes(32)] * len(rows)
    assert hasher.hash_rows((1,), rows, b"".join(digests)) == naive_hashes((1,), rows, digests)


def test_every_length_is_padded_right(hasher: Any) -> None:
    rows = [(2**63 - 1 - length, "é" * (length % 3) + "x" * length) for length in range(4 * BLOCK)]
    rows.append((-(2**63), '"' * 1_000_000))
    digests = [sha256(b"%d" % number).digest() for number in range(len(rows) - 3)]
    digests += [bytes(32), bytes(31) + b"\1", b"\1" + bytes(31)]  # only the first of these is none
    for template in ((0,), (1,), ("", 1), (DIGEST, 0, "\0", 1)):
        assert hasher.hash_rows(template, rows, b"".join(digests)) == naive_hashes(template, rows, digests)


@pytest.mark.parametrize("level", range(13))
def test_perfect_trees_have_the_root_of_the_recursive_definition(hasher: Any, level: int) -> None:
    hashes = [sha256(b"%d" % number).digest() for number in range(1 << level)]
    assert hasher.perfect_root(b"".join(hashes)) == naive_root(hashes)


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ((1, b"bytes"), TypeError),
        ((1, NotUtf8(b"\xff")), TypeError),
        ((1, 1.5), TypeError),
        ((1, 2), TypeError),
        (("1", "text"), TypeError),
        ((True, "text"), TypeError),
        ((None, "text"), TypeError),
        ((1, "\ud800"), UnicodeEncodeError),
    ],
)
def test_values_that_json_would_not_tell_apart_are_refused(hasher: Any, row: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        hasher.hash_rows((0, ",", 1), [(1, "first"), row], bytes(64))


def test_each_row_has_a_digest_of_its_own(hasher: Any) -> None:
    for size in (0, 32, 63, 65):
        with pytest.raises(ValueError, match=f"{size} bytes of digests, expected 64"):
            hasher.hash_rows((0,), [(1,), (2,)], bytes(size))


def test_an_empty_template_gives_the_hash_of_nothing(hasher: Any) -> None:
    assert hasher.hash_rows((), [(1,)], bytes(32)) == sha256().digest()


@pytest.mark.parametrize("rows", [[(1,)], [[1, "a list"]], [None]])
def test_the_compiled_hasher_refuses_what_is_no_row(rows: Any) -> None:
    compiled = find_compiled()
    if compiled is None:
        pytest.skip("no compiled hasher here")
    with pytest.raises(TypeError, match="too short for the template"):
        compiled.hash_rows((0, 1), rows, bytes(32))


@pytest.mark.parametrize("size", [0, 31, 33, 96])
def test_what_is_no_perfect_tree_is_refused(hasher: Any, size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} bytes, expected 32 for each"):
        hasher.perfect_root(bytes(size))


@pytest.mark.skipif(platform.system() != "Linux" or platform.machine() != "x86_64", reason="not Linux on x86-64")
def test_the_compiled_hasher_is_there_wherever_it_can_be() -> None:
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not shutil.which("gcc") or not headers.exists() or "sha_ni" not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip("no gcc, no Python.h or no SHA instructions")
    assert find_compiled() is not None


def broken_rows(*arguments: Any) -> bytes:
    hashes = plain_hash_rows(*arguments)
    return hashes[:-1] + b"?"


PLAIN = {"hash_each": plain_hash_each, "hash_rows": plain_hash_rows, "perfect_root": plain_perfect_root}


@pytest.mark.parametrize(
    "broken",
    [
        {**PLAIN, "hash_rows": broken_rows},
        {**PLAIN, "hash_each": lambda messages: bytes(32 * len(messages))},
        {**PLAIN, "perfect_root": lambda together: bytes(32)},
    ],
)
def test_a_compiled_hasher_that_is_wrong_is_not_used(
    broken: dict[str, Callable[..., bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_hashing, "import_module", lambda _: SimpleNamespace(**PLAIN))
    assert find_compiled() is not None
    monkeypatch.setattr(batch_hashing, "import_module", lambda _: SimpleNamespace(**broken))
    assert find_compiled() is None


def test_a_compiled_hasher_of_an_older_source_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    older = {name: function for name, function in PLAIN.items() if name != "hash_each"}
    monkeypatch.setattr(batch_hashing, "import_module", lambda _: SimpleNamespace(**older))
    assert find_compiled() is None


def test_without_the_compiled_hasher_hashlib_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: str) -> None:
        raise ImportError

    monkeypatch.setattr(batch_hashing, "import_module", absent)
    assert find_compiled() is None
