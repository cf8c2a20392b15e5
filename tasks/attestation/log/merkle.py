"""The Merkle tree of RFC 6962: its hashes, its root, and the frontier by which it grows.

    leaf hash   SHA-256(0x00 + leaf)
    node hash   SHA-256(0x01 + left + right)
    empty root  SHA-256() of nothing

Every hash is 32 bytes. A tree is known by its size, the number of its leaves, and its root.

Source: RFC 6962, section 2.1. The tree of RFC 9162 is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import islice
from typing import Final

from tasks.attestation.fast.batch_hashing import HASH_BYTES, perfect_root

EMPTY_ROOT: Final = sha256().digest()
"""The root of a tree without leaves."""

_NODE = b"\x01"
_BLOCK_LEVELS = 10
_BLOCK = 1 << _BLOCK_LEVELS
"""Leaves that `Frontier.extend` hashes in one go: large enough to be fast, 80 KiB at a time."""
_SIZE_BYTES = 8


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of one leaf, given its content."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node, given the hashes of its children."""
    return sha256(_NODE + left + right).digest()


class Frontier:
    """A tree that can grow, as the few hashes that its next root depends on.

    Holds the roots of the perfect subtrees that the tree falls into, largest first: one for each bit
    that is set in `size`, at most 63. Equal frontiers are equal trees.
    """

    __slots__ = ("_roots", "_size")

    def __init__(self) -> None:
        self._size = 0
        self._roots: list[bytes] = []

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._size

    def append(self, leaf: bytes) -> None:
        """Add one leaf, given its hash. Raises ValueError, and adds nothing, if it is not 32 bytes."""
        _check_hashes((leaf,))
        self._push(leaf, level=0)

    def append_subtree(self, root: bytes, *, level: int) -> None:
        """Add 2**level leaves at once, given the root over them. Raises ValueError unless they begin a subtree."""
        _check_hashes((root,))
        if self._size & ((1 << level) - 1):
            raise ValueError(f"a subtree of 2**{level} leaves cannot begin at leaf {self._size}")
        self._push(root, level=level)

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add many leaves, given their hashes: as `append` for each, but faster. Memory: one block.

        Raises ValueError at a hash that is not 32 bytes; part of the leaves before it are then added.

        1. Go on leaf by leaf to the next block boundary.
        2. Take whole blocks, each hashed level by level.
        3. Finish leaf by leaf.
        """
        rest = iter(leaves)
        for leaf in islice(rest, -self._size % _BLOCK):
            self.append(leaf)
        while block := list(islice(rest, _BLOCK)):
            _check_hashes(block)
            if len(block) == _BLOCK:
                self._push(perfect_root(b"".join(block)), level=_BLOCK_LEVELS)
            else:
                for leaf in block:
                    self._push(leaf, level=0)

    def root(self) -> bytes:
        """The root of the tree as it stands."""
        if not self._roots:
            return EMPTY_ROOT
        root = self._roots[-1]
        for left in self._roots[-2::-1]:
            root = node_hash(left, root)
        return root

    def to_bytes(self) -> bytes:
        """The size, 8 bytes big-endian, and the roots, 32 bytes each, largest subtree first."""
        return self._size.to_bytes(_SIZE_BYTES, "big") + b"".join(self._roots)

    @classmethod
    def from_bytes(cls, data: bytes) -> Frontier:
        """What `to_bytes` wrote. Raises ValueError for anything that it cannot have written.

        A root that was exchanged cannot be seen here: it gives another tree.
        """
        size = int.from_bytes(data[:_SIZE_BYTES], "big")
        expected = _SIZE_BYTES + HASH_BYTES * bin(size).count("1")
        if len(data) != expected or size >> 63:
            raise ValueError(f"frontier of size {size}: {len(data)} bytes, expected {expected}")
        frontier = cls()
        frontier._size = size
        frontier._roots = [data[at : at + HASH_BYTES] for at in range(_SIZE_BYTES, expected, HASH_BYTES)]
        return frontier

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frontier):
            return NotImplemented
        return self._size == other._size and self._roots == other._roots

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __repr__(self) -> str:
        return f"Frontier(size={self._size}, root={self.root().hex()})"

    def _push(self, root: bytes, *, level: int) -> None:
        """Add a perfect subtree of 2**level leaves. The size must be a multiple of that."""
        subtrees = self._size >> level
        while subtrees & 1:
            root = node_hash(self._roots.pop(), root)
            subtrees >>= 1
        self._roots.append(root)
        self._size += 1 << level


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if set(map(len, hashes)) != {HASH_BYTES}:
        wrong = next(len(one) for one in hashes if len(one) != HASH_BYTES)
        raise ValueError(f"leaf hash of {wrong} bytes, expected {HASH_BYTES}")


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes in order, in one pass that holds one block of them.

    Raises ValueError for a hash that is not 32 bytes.
    """
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier.root()
