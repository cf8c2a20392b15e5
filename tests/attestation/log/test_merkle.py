"""The tree is that of RFC 6962, however it is grown."""

from __future__ import annotations

import hashlib
from functools import cache
from itertools import chain

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.attestation.log.merkle import EMPTY_ROOT, Frontier, leaf_hash, node_hash, root_of

# The leaves of a small tree in common use for tests of Certificate Transparency, and its roots.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

HASHES = [leaf_hash(number.to_bytes(2, "big")) for number in range(5000)]
"""More than four blocks of the fast path, all different."""


@cache
def naive_root(start: int, end: int) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word, over HASHES[start:end]."""
    n = end - start
    if n == 0:
        return hashlib.sha256(b"").digest()
    if n == 1:
        return HASHES[start]
    k = 1
    while k * 2 < n:
        k *= 2
    left, right = naive_root(start, start + k), naive_root(start + k, end)
    return hashlib.sha256(b"\x01" + left + right).digest()


def frontier_of(size: int) -> Frontier:
    frontier = Frontier()
    frontier.extend(HASHES[:size])
    return frontier


def test_leaf_and_node_hashes_are_kept_apart_by_their_first_byte() -> None:
    assert leaf_hash(b"leaf") == hashlib.sha256(b"\x00leaf").digest()
    assert node_hash(HASHES[0], HASHES[1]) == hashlib.sha256(b"\x01" + HASHES[0] + HASHES[1]).digest()


@pytest.mark.parametrize("size", range(9))
def test_the_roots_of_a_known_tree_are_found(size: int) -> None:
    assert root_of(map(leaf_hash, LEAVES[:size])).hex() == ROOTS[size]


def test_the_empty_root_is_the_hash_of_nothing() -> None:
    assert EMPTY_ROOT.hex() == ROOTS[0]
    assert Frontier().root() == EMPTY_ROOT


@given(size=st.integers(0, len(HASHES)))
@example(size=1023)
@example(size=1024)
@example(size=1025)
@example(size=4096)
@example(size=5000)
def test_the_root_is_that_of_the_recursive_definition(size: int) -> None:
    assert root_of(HASHES[:size]) == naive_root(0, size)


@given(cuts=st.lists(st.integers(0, len(HASHES)), max_size=5).map(sorted))
@example(cuts=[1, 1024, 1025, 3073])
def test_a_frontier_grown_in_any_steps_is_the_same_tree(cuts: list[int]) -> None:
    frontier = Frontier()
    for start, end in zip([0, *cuts], [*cuts, len(HASHES)], strict=True):
        frontier.extend(iter(HASHES[start:end]))
        assert (frontier.size, frontier.root()) == (end, naive_root(0, end))
    assert frontier == frontier_of(len(HASHES))


@given(size=st.integers(0, 300))
def test_appending_one_by_one_is_the_same_as_extending(size: int) -> None:
    frontier = Frontier()
    for one in HASHES[:size]:
        frontier.append(one)
    assert frontier == frontier_of(size)


@given(size=st.integers(0, len(HASHES)))
def test_a_stored_frontier_grows_on_as_if_it_had_not_been_stored(size: int) -> None:
    data = frontier_of(size).to_bytes()
    assert len(data) == 8 + 32 * bin(size).count("1")
    restored = Frontier.from_bytes(data)
    assert restored == frontier_of(size)
    restored.extend(HASHES[size:])
    assert restored.root() == naive_root(0, len(HASHES))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(7),
        bytes(9),
        bytes(8 + 32),
        b"\x00\x00\x00\x00\x00\x00\x00\x01",
        b"\x00\x00\x00\x00\x00\x00\x00\x01" + bytes(31),
        b"\x00\x00\x00\x00\x00\x00\x00\x01" + bytes(33),
        b"\x00\x00\x00\x00\x00\x00\x00\x03" + bytes(32),
        b"\x80\x00\x00\x00\x00\x00\x00\x00" + bytes(32),
    ],
)
def test_bytes_that_are_no_frontier_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="frontier of size"):
        Frontier.from_bytes(data)


def test_a_frontier_equals_only_the_same_tree() -> None:
    assert frontier_of(3) != frontier_of(4)
    other = frontier_of(3)
    other.append(HASHES[0])
    assert other != frontier_of(4)
    assert frontier_of(3) != frontier_of(3).to_bytes()
    assert repr(frontier_of(2)) == f"Frontier(size=2, root={naive_root(0, 2).hex()})"


@pytest.mark.parametrize("position", [0, 5, 1023, 1024, 2047, 2050])
@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(33)])
def test_a_hash_of_another_length_is_refused_wherever_it_stands(position: int, wrong: bytes) -> None:
    with pytest.raises(ValueError, match=f"leaf hash of {len(wrong)} bytes, expected 32"):
        root_of(chain(HASHES[:position], [wrong], HASHES[position:2100]))


def test_a_refused_leaf_leaves_the_frontier_as_it_was() -> None:
    frontier = frontier_of(7)
    with pytest.raises(ValueError, match="expected 32"):
        frontier.append(b"short")
    assert frontier == frontier_of(7)
