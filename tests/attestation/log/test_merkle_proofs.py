"""Proofs prove what they say, and nothing else."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tasks.attestation.log.merkle import EMPTY_ROOT, leaf_hash, node_hash, root_of
from tasks.attestation.log.merkle_proofs import (
    consistency_proof,
    consistency_ranges,
    inclusion_proof,
    inclusion_ranges,
    roots_in_one_pass,
    verify_consistency,
    verify_inclusion,
)

HASHES = [leaf_hash(number.to_bytes(2, "big")) for number in range(3000)]
sizes = st.integers(1, 70) | st.integers(1, len(HASHES))


def some(start: int, end: int) -> list[bytes]:
    return HASHES[start:end]


def stream() -> Iterator[bytes]:
    return iter(HASHES)


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def path(m: int, hashes: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1, word for word."""
    n = len(hashes)
    if n == 1:
        return []
    k = split(n)
    if m < k:
        return [*path(m, hashes[:k]), root_of(hashes[k:])]
    return [*path(m - k, hashes[k:]), root_of(hashes[:k])]


def subproof(m: int, hashes: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, section 2.1.2, word for word."""
    n = len(hashes)
    if m == n:
        return [] if whole else [root_of(hashes)]
    k = split(n)
    if m <= k:
        return [*subproof(m, hashes[:k], whole), root_of(hashes[k:])]
    return [*subproof(m - k, hashes[k:], False), root_of(hashes[:k])]


def flipped(one: bytes, bit: int) -> bytes:
    return (int.from_bytes(one, "big") ^ 1 << bit).to_bytes(32, "big")


def with_one_flipped(proof: list[bytes], at: int, bit: int) -> list[bytes]:
    return [*proof[:at], flipped(proof[at], bit), *proof[at + 1 :]]


# --- inclusion --------------------------------------------------------------------------------------


@given(data=st.data(), size=sizes)
def test_an_inclusion_proof_is_the_path_of_the_rfc_and_verifies(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, some)
    assert proof == path(index, HASHES[:size])
    assert verify_inclusion(HASHES[index], index, size, proof, root_of(HASHES[:size]))


@given(data=st.data(), size=sizes)
def test_one_pass_over_all_hashes_gives_the_same_proof(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    assert roots_in_one_pass(inclusion_ranges(index, size), stream()) == inclusion_proof(index, size, some)


@given(data=st.data(), size=st.integers(2, 300), bit=st.integers(0, 255))
def test_an_inclusion_proof_with_one_bit_changed_anywhere_fails(data: st.DataObject, size: int, bit: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof, root = inclusion_proof(index, size, some), root_of(HASHES[:size])
    damaged = with_one_flipped(proof, data.draw(st.integers(0, len(proof) - 1)), bit)
    assert not verify_inclusion(HASHES[index], index, size, damaged, root)
    assert not verify_inclusion(flipped(HASHES[index], bit), index, size, proof, root)
    assert not verify_inclusion(HASHES[index], index, size, proof, flipped(root, bit))


@given(data=st.data(), size=st.integers(2, 300))
def test_an_inclusion_proof_holds_for_no_other_index_and_no_other_number_of_hashes(
    data: st.DataObject, size: int
) -> None:
    index, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(-2, size + 2))
    assume(index != other)
    proof, root = inclusion_proof(index, size, some), root_of(HASHES[:size])
    assert not verify_inclusion(HASHES[index], other, size, proof, root)
    assert not verify_inclusion(HASHES[index], index, size, proof[:-1], root)
    assert not verify_inclusion(HASHES[index], index, size, proof[1:], root)
    assert not verify_inclusion(HASHES[index], index, size, [*proof, root], root)
    assert not verify_inclusion(HASHES[index], index, size, [HASHES[index], *proof], root)


def test_hashes_of_another_length_prove_nothing_even_where_their_bytes_would_fit() -> None:
    left, right, root = root_of(HASHES[:2]), root_of(HASHES[2:4]), root_of(HASHES[:4])
    assert verify_inclusion(left, 0, 2, [right], root)
    assert not verify_inclusion(left[:16], 0, 2, [left[16:] + right], root)
    proof = consistency_proof(1, 2, some)
    assert not verify_consistency(1, HASHES[0][:16], 2, root_of(HASHES[:2]), [HASHES[0][16:] + proof[0]])


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0), (5, 3)])
def test_there_is_no_proof_of_a_leaf_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(IndexError, match=f"no leaf {index} in a tree of {size} leaves"):
        inclusion_proof(index, size, some)


# --- consistency ------------------------------------------------------------------------------------


@given(data=st.data(), new_size=sizes)
def test_a_consistency_proof_is_that_of_the_rfc_and_verifies(data: st.DataObject, new_size: int) -> None:
    old_size = data.draw(st.integers(1, new_size))
    proof = consistency_proof(old_size, new_size, some)
    assert proof == subproof(old_size, HASHES[:new_size], True)
    assert roots_in_one_pass(consistency_ranges(old_size, new_size), stream()) == proof
    old_root, new_root = root_of(HASHES[:old_size]), root_of(HASHES[:new_size])
    assert verify_consistency(old_size, old_root, new_size, new_root, proof)


@given(data=st.data(), new_size=st.integers(2, 300), bit=st.integers(0, 255))
def test_a_consistency_proof_that_was_changed_fails(data: st.DataObject, new_size: int, bit: int) -> None:
    old_size = data.draw(st.integers(1, new_size - 1))
    proof = consistency_proof(old_size, new_size, some)
    old_root, new_root = root_of(HASHES[:old_size]), root_of(HASHES[:new_size])
    damaged = with_one_flipped(proof, data.draw(st.integers(0, len(proof) - 1)), bit)
    assert not verify_consistency(old_size, old_root, new_size, new_root, damaged)
    assert not verify_consistency(old_size, flipped(old_root, bit), new_size, new_root, proof)
    assert not verify_consistency(old_size, old_root, new_size, flipped(new_root, bit), proof)
    assert not verify_consistency(old_size, old_root, new_size, new_root, proof[:-1])
    assert not verify_consistency(old_size, old_root, new_size, new_root, [*proof, new_root])
    assert not verify_consistency(old_size, old_root, new_size, new_root, [])


def test_a_consistency_proof_with_a_hash_too_many_fails_even_if_it_leads_to_both_roots() -> None:
    above = HASHES[9]
    old_root, new_root = node_hash(above, root_of(HASHES[:3])), node_hash(above, root_of(HASHES[:4]))
    assert not verify_consistency(3, old_root, 4, new_root, [*consistency_proof(3, 4, some), above])


@given(data=st.data(), new_size=st.integers(2, 200))
def test_no_proof_makes_a_rewritten_log_consistent(data: st.DataObject, new_size: int) -> None:
    old_size = data.draw(st.integers(1, new_size - 1))
    rewritten = HASHES[:new_size]
    rewritten[data.draw(st.integers(0, old_size - 1))] = HASHES[-1]
    proof = consistency_proof(old_size, new_size, lambda start, end: rewritten[start:end])
    assert not verify_consistency(old_size, root_of(HASHES[:old_size]), new_size, root_of(rewritten), proof)


def test_equal_sizes_are_consistent_only_with_equal_roots_and_nothing_to_prove() -> None:
    root = root_of(HASHES[:5])
    assert verify_consistency(5, root, 5, root, [])
    assert not verify_consistency(5, root, 5, root_of(HASHES[:6]), [])
    assert not verify_consistency(5, root, 5, root, [root])


@pytest.mark.parametrize("new_size", [0, 1, 8])
def test_nothing_is_proven_from_the_empty_tree(new_size: int) -> None:
    assert not verify_consistency(0, EMPTY_ROOT, new_size, root_of(HASHES[:new_size]), [])


@pytest.mark.parametrize(("old_size", "new_size"), [(0, 0), (0, 3), (4, 3), (-1, 3)])
def test_there_is_no_consistency_proof_to_a_smaller_tree_or_from_the_empty_one(old_size: int, new_size: int) -> None:
    with pytest.raises(ValueError, match=f"no consistency proof from {old_size} to {new_size} leaves"):
        consistency_proof(old_size, new_size, some)


# --- making proofs from what a store gives ----------------------------------------------------------


def test_a_store_that_gives_too_few_or_too_many_hashes_gives_no_proof() -> None:
    with pytest.raises(ValueError, match="leaves 4 to 7: 2 hashes, expected 3"):
        inclusion_proof(1, 7, lambda start, end: HASHES[start : min(end, 6)])
    with pytest.raises(ValueError, match="leaves 2 to 3: 2 hashes, expected 1"):
        consistency_proof(3, 7, lambda start, end: HASHES[start : end + 1])
    with pytest.raises(ValueError, match="leaves 4 to 7: 2 hashes, expected 3"):
        roots_in_one_pass(inclusion_ranges(1, 7), iter(HASHES[:6]))


def test_one_pass_serves_ranges_in_any_order_and_reads_no_further_than_the_last() -> None:
    hashes = stream()
    ranges = [(10, 12), (0, 3), (5, 6)]
    assert roots_in_one_pass(ranges, hashes) == [root_of(HASHES[start:end]) for start, end in ranges]
    assert next(hashes) == HASHES[12]
    assert roots_in_one_pass([], stream()) == []


def test_one_pass_refuses_ranges_that_overlap() -> None:
    with pytest.raises(ValueError, match="the range 2 to 5 overlaps"):
        roots_in_one_pass([(2, 5), (0, 3)], stream())


# --- vectors ----------------------------------------------------------------------------------------

H = [root_of(HASHES[start:end]) for start, end in ((0, 1), (1, 2), (2, 3), (0, 2), (0, 3))]
OWN_INCLUSION = [
    ("the only leaf", H[0], 0, 1, [], H[0], True),
    ("a left leaf", H[0], 0, 2, [H[1]], H[3], True),
    ("a right leaf", H[1], 1, 2, [H[0]], H[3], True),
    ("a leaf that stands alone at the edge", H[2], 2, 3, [H[3]], H[4], True),
    ("left taken for right", H[0], 1, 2, [H[1]], H[3], False),
    ("a proof for the only leaf", H[0], 0, 1, [H[0]], H[0], False),
    ("a hash too many, though it leads to the root", H[1], 0, 1, [H[0]], H[3], False),
    ("no proof for one of two", H[0], 0, 2, [], H[3], False),
    ("a leaf outside", H[0], 2, 2, [H[1]], H[3], False),
    ("an empty tree", H[0], 0, 0, [], H[0], False),
    ("a short hash", H[0], 0, 2, [H[1][:31]], H[3], False),
]


@pytest.mark.parametrize(("what", "leaf", "index", "size", "proof", "root", "verdict"), OWN_INCLUSION)
def test_own_inclusion_vectors_get_their_verdict(
    what: str, leaf: bytes, index: int, size: int, proof: list[bytes], root: bytes, verdict: bool
) -> None:
    assert verify_inclusion(leaf, index, size, proof, root) is verdict, what


def decoded(case: dict[str, Any], *names: str) -> list[bytes]:
    """The hashes of a published vector: those named, and then the proof."""
    return [base64.b64decode(one) for one in [*map(case.__getitem__, names), *(case["proof"] or [])]]


def test_published_inclusion_vectors_get_their_verdict(published: Callable[[str], Any]) -> None:
    cases = published("merkle_proofs.json")["inclusion"]
    assert len(cases) == 98
    for name, case in cases.items():
        leaf, root, *proof = decoded(case, "leafHash", "root")
        verdict = verify_inclusion(leaf, case["leafIdx"], case["treeSize"], proof, root)
        assert verdict is not case["wantErr"], name


def test_published_consistency_vectors_get_their_verdict(published: Callable[[str], Any]) -> None:
    cases = published("merkle_proofs.json")["consistency"]
    assert len(cases) == 98
    for name, case in cases.items():
        old_root, new_root, *proof = decoded(case, "root1", "root2")
        verdict = verify_consistency(case["size1"], old_root, case["size2"], new_root, proof)
        assert verdict is not case["wantErr"], name
