"""A second opinion: an auditor written from docs/attestation.md and docs/attestation-log.md alone.

It shares no code with the project; PyNaCl is its only dependency. It is slow and plain on purpose: everything is read
into memory, and each rule stands as the documentation has it. `audit` gives a set of (verdict, leaf, fact).

    python second_opinion.py DATABASE CHECKPOINT VKEY-FOR-ROWS VKEY-FOR-CHECKPOINTS
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import sqlite3
import struct
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import nacl.bindings
import nacl.exceptions

ZEROS = bytes(64)
VERSION = bytes.fromhex("0100000000000000")
Found = set[tuple[str, "int | None", "str | None"]]


class Refused(Exception):
    """Bytes that a reader refuses; the argument is the verdict for a checkpoint."""


# --- JSON, base64, hashes ---------------------------------------------------------------------------


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def unbase64(text: str) -> bytes:
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise Refused("checkpoint_malformed") from None
    if base64.b64encode(data).decode() != text:
        raise Refused("checkpoint_malformed")
    return data


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def root_of(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, over leaf hashes."""
    if not leaves:
        return sha256()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01", root_of(leaves[:k]), root_of(leaves[k:]))


def pieces(start: int, end: int) -> list[tuple[int, int]]:
    """The perfect subtrees of leaves `start` to `end` - 1, as (first, end)."""
    found = []
    while start < end:
        size = 1
        while start + size * 2 <= end and start % (size * 2) == 0:
            size *= 2
        found.append((start, start + size))
        start += size
    return found


def root_of_pieces(roots: list[bytes]) -> bytes:
    """The root of a tree, given the roots of the perfect subtrees of all of it, the largest first."""
    if not roots:
        return sha256()
    root = roots[-1]
    for left in reversed(roots[:-1]):
        root = sha256(b"\x01", left, root)
    return root


# --- keys and notes ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """A trusted key: for "rows" or "checkpoints", in leaves first <= leaf < end."""

    vkey: str
    use: str
    first: int = 0
    end: float = float("inf")

    @property
    def name(self) -> str:
        return self.vkey.split("+", 2)[0]

    @property
    def public(self) -> bytes:
        data = unbase64(self.vkey.split("+", 2)[2])
        assert len(data) == 33 and data[0] == 1
        assert nacl.bindings.crypto_core_ed25519_is_valid_point(data[1:])
        return data[1:]

    @property
    def id(self) -> bytes:
        computed = sha256(self.name.encode(), b"\n\x01", self.public)[:8]
        assert computed[:4].hex() == self.vkey.split("+", 2)[1]
        return computed

    def verifies(self, message: bytes, signature: bytes) -> bool:
        if len(signature) != 64 or signature == ZEROS:
            return False
        try:
            nacl.bindings.crypto_sign_open(signature + message, self.public)
        except nacl.exceptions.BadSignatureError:
            return False
        return True


@dataclass(frozen=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes


def parse_note(data: bytes) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    malformed = Refused("checkpoint_malformed")
    try:
        note = data.decode()
    except UnicodeDecodeError:
        raise malformed from None
    if len(data) > 1_000_000 or re.search("[\x00-\x09\x0b-\x1f]", note) or not note.endswith("\n"):
        raise malformed
    at = note.rfind("\n\n")
    if at < 0:
        raise malformed
    text, lines = note[: at + 1], note[at + 2 : -1].split("\n")
    signatures = []
    for line in lines:
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "—" or not parts[1] or "+" in parts[1] or re.search(r"\s", parts[1]):
            raise malformed
        signed = unbase64(parts[2])
        if len(signed) < 5:
            raise malformed
        signatures.append((parts[1], signed[:4], signed[4:]))
    if not 1 <= len(signatures) <= 100:
        raise malformed
    return text, signatures


def parse_checkpoint(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]) or not re.fullmatch("0|[1-9][0-9]{0,18}", lines[1]):
        raise Refused("checkpoint_malformed")
    size, root = int(lines[1]), unbase64(lines[2])
    if len(root) != 32 or size >= 2**63 or (size == 0 and root != sha256()):
        raise Refused("checkpoint_malformed")
    return Checkpoint(lines[0], size, root)


def open_checkpoint(data: bytes, keys: list[Key]) -> Checkpoint:
    text, signatures = parse_note(data)
    checkpoint = parse_checkpoint(text)
    last = max(checkpoint.size - 1, 0)
    trusted = [k for k in keys if k.use == "checkpoints" and k.first <= last < k.end]
    signed = False
    for name, key_id, signature in signatures:
        for key in trusted:
            if (key.name, key.id[:4]) == (name, key_id):
                if not key.verifies(text.encode(), signature):
                    raise Refused("checkpoint_bad_signature")
                signed = True
    if not signed:
        raise Refused("checkpoint_unknown_key")
    return checkpoint


# --- the database -----------------------------------------------------------------------------------


class Text(bytes):
    """TEXT that is not UTF-8."""


def value_of(kind: str, value: Any) -> Any:
    if kind != "text":
        return value
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        return Text(value)


def read(connection: sqlite3.Connection, table: str, columns: str, order: str = "1") -> list[dict[str, Any]]:
    names = columns.split()
    picked = ", ".join(f"typeof({n}), CASE typeof({n}) WHEN 'text' THEN CAST({n} AS BLOB) ELSE {n} END" for n in names)
    rows = connection.execute(f"SELECT {picked} FROM {table} ORDER BY {order}")
    return [{n: value_of(row[2 * i], row[2 * i + 1]) for i, n in enumerate(names)} for row in rows]


def as_blob(value: Any) -> bytes:
    return bytes(value or b"") if value is None or isinstance(value, bytes) else str(value).encode()


def member(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Text):
        return {"$text": value.hex()}
    if isinstance(value, bytes):
        return {"$blob": value.hex()}
    if isinstance(value, float):
        return {"$real": struct.pack(">d", value).hex()}
    return {"$integer": str(value)}


LOG = "attestation_id fact_id attester signed_at signature_hex notes"
METADATA = "fact_id source_doc extracted_at verified_by confidence_lower confidence_upper ed25519_sig"
TILE = (
    "first_leaf leaves first_attestation_id last_attestation_id subtree_roots attestation_ids leaf_marks "
    "payload_digests"
)
CHECKPOINT = "tree_size root frontier last_attestation_id note"


def leaf_hash(row: dict[str, Any], digest: bytes, attestation_id: int | None = None) -> bytes:
    leaf = {name: member(row[name]) for name in LOG.split()}
    leaf["attestation_id"] = row["attestation_id"] if attestation_id is None else attestation_id
    leaf["payload_sha256"] = None if digest == bytes(32) else digest.hex()
    return sha256(b"\x00", canonical(leaf))


def payload_of(row: dict[str, Any]) -> bytes | None:
    fields = {name: row[name] for name in METADATA.split() if name != "ed25519_sig"}
    for name, value in fields.items():
        if name.startswith("confidence"):
            right = value is None or type(value) is float
        else:
            right = type(value) is str or (value is None and name in ("source_doc", "verified_by"))
        if not right:
            return None
    return canonical(fields)


def digest_of(row: dict[str, Any]) -> bytes:
    payload = payload_of(row)
    return bytes(32) if payload is None else sha256(payload)


def well_formed(blob: Any) -> bool:
    if type(blob) is not bytes:
        return False
    return blob == ZEROS or (len(blob) == 80 and blob[:8] == VERSION and blob[8:72] != ZEROS)


def signature_in(blob: bytes) -> bytes:
    return blob if len(blob) == 64 else blob[8:72]


class Database:
    def __init__(self, path: Path) -> None:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            self.log = read(connection, "am_fact_attestation_log", LOG)
            self.metadata = read(connection, "am_fact_metadata", METADATA)
            self.tiles = read(connection, "am_attestation_tile", TILE)
            self.checkpoints = read(connection, "am_attestation_checkpoint", CHECKPOINT)
            tables = connection.execute("SELECT name FROM sqlite_schema WHERE name = 'am_backfill_batch'").fetchall()
            self.batches = read(connection, "am_backfill_batch", "first_attestation_id") if tables else []
        finally:
            connection.close()
        self.by_fact: dict[Any, list[dict[str, Any]]] = {}
        for row in self.log:
            self.by_fact.setdefault(row["fact_id"], []).append(row)
        self.metadata_by_fact = {row["fact_id"]: row for row in self.metadata}

    @property
    def last_sealed(self) -> int | None:
        if not self.tiles:
            return None
        last = self.tiles[-1]["last_attestation_id"]
        return last if type(last) is int else 0


# --- the audit --------------------------------------------------------------------------------------


def audit(
    path: Path, checkpoint: bytes, keys: list[Key], *, since: bytes | None = None, root_only: bool = False,
    allow_unsigned: bool = False,
) -> Found:  # fmt: skip
    given = []
    found: Found = set()
    for data in (checkpoint, since):
        if data is not None:
            try:
                given.append(open_checkpoint(data, keys))
            except Refused as refused:
                found.add((str(refused), None, None))
    if found:
        return found
    if len(given) == 2:
        if given[0].origin != given[1].origin:
            return {("checkpoint_other_log", None, None)}
        if given[0].size == given[1].size and given[0].root != given[1].root:
            found.add(("inconsistent", given[0].size, None))
    database = Database(path)
    signed, frontiers = _signed(database, given, keys, found)
    digests: dict[int, tuple[int, bytes]] = {}
    whole = _tables(database, given, signed, found)
    if whole:
        digests = _tree(database, signed, frontiers, found)
    if not root_only:
        _metadata(database, digests, found)
        _successions(database, digests, found)
        id_of = ids_by_leaf(database) if whole else None
        _rotations(database, keys, id_of, found)
        for row in database.metadata:
            state = state_of(database, row, keys, id_of)
            if state != "valid" and not (state == "unsigned" and allow_unsigned):
                found.add((f"signature_{state}", None, _name(row["fact_id"])))
    return found


def _name(value: Any) -> str:
    """A fact id for people."""
    if isinstance(value, Text):
        return value.decode("utf-8", "backslashreplace")
    return f"x'{value.hex()}'" if isinstance(value, bytes) else str(value)


def _signed(
    database: Database, given: list[Checkpoint], keys: list[Key], found: Found
) -> tuple[dict[int, bytes], dict[int, list[bytes]]]:
    signed = {one.size: one.root for one in reversed(given)}
    frontiers = {}
    for row in database.checkpoints:
        size, root, frontier = row["tree_size"], as_blob(row["root"]), as_blob(row["frontier"])
        roots = [frontier[i : i + 32] for i in range(8, len(frontier), 32)]
        try:
            stored = open_checkpoint(as_blob(row["note"]), keys)
            whole = (stored.origin, stored.size, stored.root) == (given[0].origin, size, root)
        except Refused:
            whole = False
        spelt = size >= 0 and size.to_bytes(8, "big") + b"".join(roots) == frontier
        spelt = spelt and len(roots) == bin(size).count("1") and all(len(one) == 32 for one in roots)
        if not whole or not spelt or root_of_pieces(roots) != root:
            found.add(("stored_checkpoint_damaged", size, None))
            continue
        frontiers[size] = roots
        if signed.setdefault(size, root) != root:
            found.add(("inconsistent", size, None))
    return signed, frontiers


def _tables(database: Database, given: list[Checkpoint], signed: dict[int, bytes], found: Found) -> bool:
    at, last = 0, -(2**63) - 1
    for tile in database.tiles:
        count, first_id, last_id = tile["leaves"], tile["first_attestation_id"], tile["last_attestation_id"]
        right = (
            all(type(number) is int for number in (count, first_id, last_id))
            and tile["first_leaf"] == at
            and 1 <= count <= 4096 - at % 4096
            and len(as_blob(tile["leaf_marks"])) == 8 * count
            and len(as_blob(tile["payload_digests"])) == 32 * count
            and len(as_blob(tile["subtree_roots"])) == 32 * len(pieces(at, at + count))
            and first_id > last
        )
        if tile["attestation_ids"] is None:
            right = right and last_id - first_id + 1 == count
        else:
            right = right and len(as_blob(tile["attestation_ids"])) == 8 * count
        if not right:
            found.add(("tile_damaged", at, None))
            return False
        at, last = at + count, last_id
    if at < max(signed):
        found.add(("log_truncated", at, None))
        for size in [size for size in signed if size > at]:
            del signed[size]
    stored = [row["tree_size"] for row in database.checkpoints]
    if at > max(stored, default=0):
        found.add(("stored_checkpoint_damaged", at, None))
    for one in given:
        if 0 < one.size <= at and one.size not in stored:
            found.add(("stored_checkpoint_damaged", one.size, None))
    ends = {tile["first_leaf"] + tile["leaves"]: tile["last_attestation_id"] for tile in database.tiles}
    damaged = {leaf for verdict, leaf, _ in found if verdict == "stored_checkpoint_damaged"}
    for row in database.checkpoints:
        size = row["tree_size"]
        if size not in damaged and size in ends and ends[size] != row["last_attestation_id"]:
            found.add(("stored_checkpoint_damaged", size, None))
    return True


def _ids(tile: dict[str, Any]) -> list[int]:
    if tile["attestation_ids"] is None:
        return list(range(tile["first_attestation_id"], tile["last_attestation_id"] + 1))
    packed = as_blob(tile["attestation_ids"])
    return [int.from_bytes(packed[i : i + 8], "little", signed=True) for i in range(0, len(packed), 8)]


def _tree(
    database: Database, signed: dict[int, bytes], frontiers: dict[int, list[bytes]], found: Found
) -> dict[int, tuple[int, bytes]]:
    """Step 3. Gives attestation id to (leaf, payload digest)."""
    rows = {row["attestation_id"]: row for row in database.log}
    named: set[int] = set()
    hashes: list[bytes] = []
    wrong: list[tuple[int, dict[str, Any], bytes, bytes]] = []
    other_roots: list[tuple[int, int]] = []
    leaves: dict[int, tuple[int, bytes]] = {}
    behind = -(2**63) - 1

    def name(verdict: str, leaf: int, row: dict[str, Any] | None) -> None:
        found.add((verdict, leaf, _name(row["fact_id"]) if row else None))
        named.add(leaf)

    for tile in database.tiles:
        first, ids = tile["first_leaf"], _ids(tile)
        marks, digests = as_blob(tile["leaf_marks"]), as_blob(tile["payload_digests"])
        ends = (tile["first_attestation_id"], tile["last_attestation_id"])
        if any(b <= a for a, b in zip([behind, *ids], ids, strict=False)) or (ids[0], ids[-1]) != ends:
            name("tile_damaged", first, None)
        strangers = [rows[i] for i in sorted(rows) if behind < i <= ids[-1] and i not in ids]
        behind_here = behind
        for at, attestation_id in enumerate(ids):
            mark, digest, leaf = marks[8 * at : 8 * at + 8], digests[32 * at : 32 * at + 32], first + at
            leaves[attestation_id] = (leaf, digest)
            row = rows.get(attestation_id)
            if row is None or not behind_here < attestation_id <= ids[-1]:
                stranger = next((s for s in strangers if leaf_hash(s, digest)[:8] == mark), None)
                name("tile_damaged" if stranger else "row_missing", leaf, stranger)
                strangers = [s for s in strangers if s is not stranger]
                hashes.append(bytes(32))
                continue
            hashes.append(leaf_hash(row, digest))
            if hashes[-1][:8] != mark:
                wrong.append((leaf, row, digest, mark))
        for stranger in strangers:
            found.add(("row_inserted", None, _name(stranger["fact_id"])))
        end = first + len(ids)
        if b"".join(root_of(hashes[a:b]) for a, b in pieces(first, end)) != as_blob(tile["subtree_roots"]):
            other_roots.append((first, end))
        behind = tile["last_attestation_id"]

    good = [size for size, root in signed.items() if size and root_of(hashes[:size]) == root]
    bad = sorted(size for size in signed if size and size not in good)
    proven = max(good, default=0)
    for size in bad:
        if size < proven:
            found.add(("inconsistent", size, None))
    _wrong_leaves(database, wrong, proven, name)
    for first, end in other_roots:
        if end <= proven and not any(first <= leaf < end for leaf in named):
            name("tile_damaged", first, None)
    for size in bad:
        if size > proven and not any(proven <= leaf < size for leaf in named):
            found.add(("log_rewritten", _where(database, signed, frontiers, hashes, other_roots, size, proven), None))
            break
    return leaves


def _wrong_leaves(database: Database, wrong: list[Any], proven: int, name: Any) -> None:
    suspects = []
    for leaf, row, digest, mark in wrong:
        metadata = database.metadata_by_fact.get(row["fact_id"]) if isinstance(row["fact_id"], str) else None
        others = {bytes(32)} | ({digest_of(metadata)} if metadata else set())
        if leaf < proven or any(leaf_hash(row, other)[:8] == mark for other in others):
            name("tile_damaged", leaf, row)
        else:
            suspects.append((leaf, row, digest, mark))
    for leaf, row, digest, mark in suspects:
        moved = any(
            other is not row and leaf_hash(other, digest, row["attestation_id"])[:8] == mark
            for _, other, _, _ in suspects
        )
        name("row_reordered" if moved else "row_edited", leaf, row)


def _where(
    database: Database, signed: dict[int, bytes], frontiers: dict[int, list[bytes]], hashes: list[bytes],
    other_roots: list[tuple[int, int]], size: int, proven: int,
) -> int:  # fmt: skip
    """The first leaf that a rewriting can be at."""
    nodes: dict[tuple[int, int], bytes] = {}
    for tile in database.tiles:
        first, end, roots = tile["first_leaf"], tile["first_leaf"] + tile["leaves"], as_blob(tile["subtree_roots"])
        for i, piece in enumerate(pieces(first, end)):
            nodes[piece] = roots[32 * i : 32 * i + 32]

    def root_by_tiles(start: int, end: int) -> bytes | None:
        if (start, end) in nodes:
            return nodes[start, end]
        if end - start < 2:
            return None
        k = 1
        while k * 2 < end - start:
            k *= 2
        left, right = root_by_tiles(start, start + k), root_by_tiles(start + k, end)
        return sha256(b"\x01", left, right) if left and right else None

    if root_by_tiles(0, size) == signed[size]:
        return other_roots[0][0]
    if size in frontiers:
        for (first, end), root in zip(pieces(0, size), frontiers[size], strict=True):
            if root_of(hashes[first:end]) != root:
                return first
    return proven


def _metadata(database: Database, leaves: dict[int, tuple[int, bytes]], found: Found) -> None:
    last_sealed = database.last_sealed
    for fact_id, rows in database.by_fact.items():
        if not isinstance(fact_id, str) or fact_id.startswith("key-rotation/"):
            continue
        latest = rows[-1]
        leaf = leaves.get(latest["attestation_id"])
        if leaf is None and last_sealed is not None and latest["attestation_id"] <= last_sealed:
            continue
        verdict = _metadata_verdict(database, rows, leaf[1] if leaf else None)
        if verdict:
            found.add((verdict, leaf[0] if leaf else None, fact_id))
    for row in database.metadata:
        if row["fact_id"] is None or row["fact_id"] not in database.by_fact:
            found.add(("metadata_unlogged", None, _name(row["fact_id"])))


def _metadata_verdict(database: Database, rows: list[dict[str, Any]], digest: bytes | None) -> str | None:
    latest = rows[-1]
    metadata = database.metadata_by_fact.get(latest["fact_id"])
    if metadata is None:
        return "metadata_missing"
    blob = metadata["ed25519_sig"]
    if not well_formed(blob):
        return "metadata_malformed"
    signature = signature_in(blob).hex()
    if signature != latest["signature_hex"]:
        if blob == ZEROS:
            return "metadata_downgraded"
        return "metadata_replayed" if any(r["signature_hex"] == signature for r in rows[:-1]) else "metadata_replaced"
    return "metadata_edited" if digest is not None and digest_of(metadata) != digest else None


def superseded_by(row: dict[str, Any]) -> int | None:
    """The attestation whose content a row of the log says it replaces."""
    notes = row["notes"]
    if not isinstance(notes, str) or len(notes) > 4000:
        return None
    try:
        record = json.loads(notes)
        if not isinstance(record, dict) or canonical(record) != notes.encode():
            return None
    except (ValueError, RecursionError):
        return None
    members = {"update": {"supersedes", "type"}, "reattestation": {"because", "supersedes", "type"}}
    right = set(record) == members.get(str(record.get("type"))) and type(record.get("because", "")) is str
    return record["supersedes"] if right and type(record["supersedes"]) is int else None


def _successions(database: Database, leaves: dict[int, tuple[int, bytes]], found: Found) -> None:
    noted = [row["attestation_id"] for row in database.log if superseded_by(row) is not None]
    noted += [row["first_attestation_id"] for row in database.batches if row["first_attestation_id"] is not None]
    for fact_id, rows in database.by_fact.items():
        if not noted or not isinstance(fact_id, str) or fact_id.startswith("key-rotation/"):
            continue
        for earlier, later in pairwise(rows):
            was, now = leaves.get(earlier["attestation_id"]), leaves.get(later["attestation_id"])
            if was is None or now is None or later["attestation_id"] < min(noted):
                continue
            told = superseded_by(later) == earlier["attestation_id"]
            if not told and was[1] != now[1] and bytes(32) not in (was[1], now[1]):
                found.add(("content_changed", now[0], fact_id))


def _rotations(database: Database, keys: list[Key], id_of: list[int] | None, found: Found) -> None:
    size = sum(tile["leaves"] for tile in database.tiles) if id_of else 0
    leaf_of = {attestation_id: leaf for leaf, attestation_id in enumerate((id_of or [])[:size])}
    for row in database.log:
        of_rotation = isinstance(row["fact_id"], str) and row["fact_id"].startswith("key-rotation/")
        if of_rotation and not _is_rotation(row, keys):
            found.add(("rotation_invalid", leaf_of.get(row["attestation_id"]), row["fact_id"]))


def _is_rotation(row: dict[str, Any], keys: list[Key]) -> bool:
    try:
        record = json.loads(row["notes"])
        old, new = (next(k for k in keys if k.vkey == record[name]) for name in ("old_vkey", "new_vkey"))
        signatures = bytes.fromhex(row["signature_hex"])
    except (ValueError, KeyError, TypeError, StopIteration, RuntimeError):
        return False
    message = row["notes"].encode()
    return (
        set(record) == {"type", "old_vkey", "new_vkey", "rotated_at"}
        and record["type"] == "key-rotation"
        and canonical(record) == message
        and row["fact_id"] == f"key-rotation/{old.id.hex()}/{new.id.hex()}"
        and len(signatures) == 128
        and old.verifies(message, signatures[:64])
        and new.verifies(message, signatures[64:])
    )


def ids_by_leaf(database: Database) -> list[int]:
    """The attestation ids of the leaves, those that are not sealed yet behind the others."""
    sealed = [one for tile in database.tiles for one in _ids(tile)]
    behind = database.last_sealed
    rest = sorted(row["attestation_id"] for row in database.log)
    return sealed + [one for one in rest if behind is None or one > behind]


def counts(key: Key, attestation_id: int, id_of: list[int] | None) -> bool:
    """Whether the key is trusted in the leaf of this row of the log."""
    if (key.first, key.end) == (0, float("inf")):
        return True
    if id_of is None or key.end <= key.first or key.first >= len(id_of):
        return False
    first = id_of[key.first] if key.first else -(2**63)
    return first <= attestation_id and (key.end >= len(id_of) or attestation_id < id_of[int(key.end)])


def state_of(database: Database, row: dict[str, Any], keys: list[Key], id_of: list[int] | None) -> str:
    """The state of a metadata row by its signature."""
    blob, payload = row["ed25519_sig"], payload_of(row)
    if not well_formed(blob) or payload is None:
        return "malformed"
    logged = database.by_fact.get(row["fact_id"], [])
    latest = logged[-1]["signature_hex"] if logged else None
    if blob == ZEROS:
        if any(one["signature_hex"] != ZEROS.hex() for one in logged):
            return "downgraded"
        return "unsigned" if latest == ZEROS.hex() else "unlogged"
    key = next((k for k in keys if k.use == "rows" and k.id == blob[72:]), None)
    if key is None:
        return "unknown_key"
    if latest != blob[8:72].hex():
        return "unlogged"
    if not key.verifies(payload, blob[8:72]):
        return "invalid"
    return "valid" if counts(key, logged[-1]["attestation_id"], id_of) else "revoked"


# --- a proof of one fact ----------------------------------------------------------------------------


def check(proof: bytes, rows: Key, log: Key) -> bool:
    """Whether a proof holds, in all its parts."""
    try:
        head, _, note = proof.partition(b"\n\n")
        lines = head.decode("ascii").split("\n")
        if not lines[1].startswith("extra ") or not re.fullmatch("index (0|[1-9][0-9]{0,18})", lines[2]):
            return False
        spelt = unbase64(lines[1][6:])
        extra = json.loads(spelt)
        if canonical(extra) != spelt or bytes.fromhex(extra["ed25519_sig"]).hex() != extra["ed25519_sig"]:
            return False
        index = int(lines[2][6:])
        path = [unbase64(line) for line in lines[3:]]
        checkpoint = open_checkpoint(note, [log])
        leaf, payload = extra["leaf"], extra["payload"]
        blob = bytes.fromhex(extra["ed25519_sig"])
        leaf_fields, record = json.loads(leaf), json.loads(payload)
    except (Refused, ValueError, KeyError, IndexError, TypeError):
        return False
    if not isinstance(leaf_fields, dict) or not isinstance(record, dict):
        return False
    return (
        lines[0] == "c2sp.org/tlog-proof@v1"
        and {"payload_sha256", "fact_id", "signature_hex"} <= set(leaf_fields)
        and "fact_id" in record
        and leaf_fields["payload_sha256"] == sha256(payload.encode()).hex()
        and leaf_fields["fact_id"] == record["fact_id"]
        and well_formed(blob)
        and blob != ZEROS
        and leaf_fields["signature_hex"] == blob[8:72].hex()
        and blob[72:] == rows.id
        and rows.verifies(payload.encode(), blob[8:72])
        and _leads_to(sha256(b"\x00", leaf.encode()), index, checkpoint.size, path) == checkpoint.root
    )


def _leads_to(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """RFC 9162, section 2.1.3.2."""
    if index >= size:
        return None
    fn, sn, r = index, size - 1, leaf
    for p in path:
        if sn == 0 or len(p) != 32:
            return None
        if fn & 1 or fn == sn:
            r = sha256(b"\x01", p, r)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = sha256(b"\x01", r, p)
        fn, sn = fn >> 1, sn >> 1
    return r if sn == 0 else None


if __name__ == "__main__":
    database, file, row_key, log_key = sys.argv[1:5]
    findings = audit(Path(database), Path(file).read_bytes(), [Key(row_key, "rows"), Key(log_key, "checkpoints")])
    print("\n".join(map(str, sorted(findings, key=repr))) or "clean")
    sys.exit(bool(findings))
