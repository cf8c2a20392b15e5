"""A range of leaves as the few perfect subtrees that it falls into.

The tree over n leaves has, whatever n is, the same node over leaves 4096 to 8191. So a range of leaves is kept as
the roots of the largest such nodes it is made of, and trees are put together from ranges. A whole tile is one root.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tasks.attestation.fast.batch_hashing import HASH_BYTES, perfect_root
from tasks.attestation.log.merkle import Frontier


def subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """(first leaf, level) of the perfect subtrees that leaves `start` up to, not including, `end` fall into.

    In order; each is the largest that begins there, ends by `end`, and is a node of every tree that holds it.
    """
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield start, level
        start += 1 << level


def subtree_roots(start: int, hashes: bytes) -> bytes:
    """The roots of `subtrees` over leaf hashes, side by side as these are. The first of them is leaf `start`."""
    roots, taken = list[bytes](), 0
    for _, level in subtrees(start, start + len(hashes) // HASH_BYTES):
        roots.append(perfect_root(hashes[taken : taken + (HASH_BYTES << level)]))
        taken += HASH_BYTES << level
    return b"".join(roots)


def grow(frontier: Frontier, end: int, roots: Sequence[bytes]) -> None:
    """Add leaves up to `end` to a tree, given the roots of their subtrees. Raises ValueError for another number."""
    for root, (_, level) in zip(roots, list(subtrees(frontier.size, end)), strict=True):
        frontier.append_subtree(root, level=level)


def count_subtrees(start: int, end: int) -> int:
    """How many roots the range is kept as."""
    return sum(1 for _ in subtrees(start, end))
