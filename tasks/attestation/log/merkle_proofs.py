"""Inclusion and consistency proofs over the Merkle tree of RFC 6962: how they are made and checked.

A proof is a list of hashes of 32 bytes, each the root of a range of leaves: from the leaf's sibling
up to the root's child. So a proof is made in two steps: which ranges, and then the root of each.

Source: RFC 6962, sections 2.1.1 and 2.1.2 (making); RFC 9162, sections 2.1.3.2 and 2.1.4.2 (checking).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from tasks.attestation.fast.batch_hashing import HASH_BYTES
from tasks.attestation.log.merkle import Frontier, node_hash

Range = tuple[int, int]
"""Leaves `start` up to, not including, `end`."""

GetHashes = Callable[[int, int], Iterable[bytes]]
"""Gives the leaf hashes of a range, in order. With a list: `lambda start, end: hashes[start:end]`."""

# --- making proofs ----------------------------------------------------------------------------------


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Whose roots prove leaf `index` to be in the tree of `size` leaves: from its sibling up.

    The ranges do not overlap, and cover every leaf but that one. Raises IndexError unless
    0 <= index < size. Source: PATH of RFC 6962, section 2.1.1.
    """
    if not 0 <= index < size:
        raise IndexError(f"no leaf {index} in a tree of {size} leaves")
    ranges: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old_size: int, new_size: int) -> list[Range]:
    """Whose roots prove the tree of `old_size` leaves to be the beginning of that of `new_size`.

    The ranges do not overlap; there are none between equal sizes. Raises ValueError unless
    0 < old_size <= new_size: the empty tree begins every tree, and a proof of that says nothing.
    Source: PROOF of RFC 6962, section 2.1.2.
    """
    if not 0 < old_size <= new_size:
        raise ValueError(f"no consistency proof from {old_size} to {new_size} leaves")
    ranges: list[Range] = []
    start, end = 0, new_size
    while end > old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start:  # else the old tree is a whole subtree, whose root the verifier holds already
        ranges.append((start, end))
    return ranges[::-1]


def _split(size: int) -> int:
    """The largest power of two below `size`: the leaves of a node's left child."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_proof(index: int, size: int, get_hashes: GetHashes) -> list[bytes]:
    """The proof that leaf `index` is in the tree of `size` leaves.

    Asks for each leaf but that one once. Raises IndexError unless 0 <= index < size, ValueError if a
    range does not yield its leaves.
    """
    return [_root_of_range(one, get_hashes(*one)) for one in inclusion_ranges(index, size)]


def consistency_proof(old_size: int, new_size: int, get_hashes: GetHashes) -> list[bytes]:
    """The proof that the tree of `old_size` leaves is the beginning of that of `new_size`.

    Raises ValueError unless 0 < old_size <= new_size, or if a range does not yield its leaves.
    """
    return [_root_of_range(one, get_hashes(*one)) for one in consistency_ranges(old_size, new_size)]


def roots_in_one_pass(ranges: Sequence[Range], leaves: Iterable[bytes]) -> list[bytes]:
    """The root of each range, in the order of `ranges`, from one pass over all leaf hashes.

    For a proof out of a stream: `roots_in_one_pass(inclusion_ranges(index, size), stream)`. Holds one
    block of hashes, and reads no further than the last range. The ranges must not overlap.

    Raises ValueError if they do, or if the stream ends early.
    """
    stream, at = iter(leaves), 0
    roots: dict[Range, bytes] = {}
    for start, end in sorted(ranges):
        if start < at:
            raise ValueError(f"the range {start} to {end} overlaps the one before it")
        _skip(stream, start - at)
        roots[start, end] = _root_of_range((start, end), islice(stream, end - start))
        at = end
    return [roots[one] for one in ranges]


def _skip(stream: Iterator[bytes], count: int) -> None:
    next(islice(stream, count, count), None)  # itertools' recipe `consume`


def _root_of_range(leaves: Range, hashes: Iterable[bytes]) -> bytes:
    start, end = leaves
    frontier = Frontier()
    frontier.extend(hashes)
    if frontier.size != end - start:
        raise ValueError(f"leaves {start} to {end}: {frontier.size} hashes, expected {end - start}")
    return frontier.root()


# --- checking proofs --------------------------------------------------------------------------------


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the proof shows the leaf hash to be leaf `index` of the tree of `size` leaves under `root`.

    Never raises for numbers out of range or hashes of another length: they prove nothing.
    Source: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size or not _are_hashes([leaf, *proof]):
        return False
    at, last, seen = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            seen = node_hash(sibling, seen)
            at, last = _up_to_right_child(at, last)
        else:
            seen = node_hash(seen, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and seen == root


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows the old tree to be the beginning of the new one.

    False from the empty tree, of which nothing can be proven: a caller that holds a checkpoint of
    size 0 has nothing to compare. Never raises for numbers out of range or hashes of another length.
    Source: RFC 9162, section 2.1.4.2.
    """
    if not 0 < old_size <= new_size or not _are_hashes(proof):
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    hashes = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    at, last = old_size - 1, new_size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    return bool(hashes) and _climb(at, last, hashes) == (old_root, new_root)


def _climb(at: int, last: int, hashes: list[bytes]) -> tuple[bytes, bytes] | None:
    """The old and the new root that a consistency proof leads to, or None if it is too long or short."""
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return None
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            at, last = _up_to_right_child(at, last)
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    return (old, new) if last == 0 else None


def _up_to_right_child(at: int, last: int) -> tuple[int, int]:
    """Skip the levels where the node stands alone at the right edge, and is not hashed."""
    while at and not at & 1:
        at, last = at >> 1, last >> 1
    return at, last


def _are_hashes(hashes: Sequence[bytes]) -> bool:
    return all(len(one) == HASH_BYTES for one in hashes)
