"""The registry of public keys: who is trusted to sign what, and over which leaves of the log.

It is a file, config/keys.yaml, that its owner keeps under version control. Public keys come from there and
from nowhere else; above all they never come from the database that is being checked.

    active      signs now; valid from `from_leaf` on
    superseded  was replaced: what it signed in `from_leaf` to `until_leaf` stays valid, nothing later does
    revoked     is no longer trusted from `revoked_at_leaf` on; without that number it never was

What a key may sign can be said in its entry too: `stores`, absolute paths, and `logs`, origins (key_bindings.py). No
verdict depends on that.

The leaf of a signature is the number that its row of the log has, or will have, in the sealed log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.attestation.key_bindings import KeyBinding, objection_to
from tasks.attestation.log.notes import VerifierKey
from tasks.core.errors import KeyRegistryError, PublicKeyError
from tasks.core.files import read_bounded
from tasks.core.terminal import cut, without_keys
from tasks.core.yaml_files import LONGEST, UnreadError, compose, construct

DEFAULT_REGISTRY: Final = "config/keys.yaml"

Use = Literal["rows", "checkpoints"]
KeyState = Literal["active", "superseded", "revoked"]
Leaf = Annotated[int, Field(ge=0, lt=2**63)]
Names = Annotated[tuple[str, ...], Field(strict=False, max_length=100)]  # YAML has lists, no tuples


class RegisteredKey(BaseModel):
    """One entry of the registry, true to itself. Leaves are counted from 0; `until_leaf` is the last one that counts.

    Validation refuses a vkey that is malformed or of low order, a name or key id that is not the vkey's, and
    leaves that contradict the state.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    vkey: str
    key_id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    use: Use
    from_leaf: Leaf = 0
    until_leaf: Leaf | None = None
    state: KeyState = "active"
    revoked_at_leaf: Leaf | None = None
    stores: Names | None = None
    logs: Names | None = None

    @property
    def key(self) -> VerifierKey:
        return VerifierKey.parse(self.vkey)

    @property
    def id_bytes(self) -> bytes:
        """The eight bytes at the end of `ed25519_sig`."""
        return bytes.fromhex(self.key_id)

    @property
    def trusted_leaves(self) -> tuple[int, int | None]:
        """The leaves in which its signatures count, as (first, first one after; None for no end)."""
        end = None if self.until_leaf is None else self.until_leaf + 1
        if self.state == "revoked":
            revoked_at = self.from_leaf if self.revoked_at_leaf is None else max(self.from_leaf, self.revoked_at_leaf)
            end = revoked_at if end is None else min(end, revoked_at)
        return self.from_leaf, end

    def objection(self) -> str | None:
        """What is wrong with the entry, in words, or None."""
        try:
            key = self.key
        except PublicKeyError as error:
            return str(error).rstrip(".")
        if self.name != key.name:
            return f"name {self.name!r}, but the vkey is that of {key.name!r}"
        if self.key_id != key.key_id.hex():
            return f"key_id {self.key_id}, but name and public key give {key.key_id.hex()}"
        return self._objection_to_names() or self._objection_to_leaves()

    def _objection_to_names(self) -> str | None:
        for kind, names in (("store", self.stores), ("log", self.logs)):
            for number, name in enumerate(names or (), 1):
                objection = objection_to(kind, name)
                if objection:
                    return f"{kind}s, {kind} {number}: it {objection}; it is not shown"
        return None

    def _objection_to_leaves(self) -> str | None:
        if self.until_leaf is not None and self.until_leaf < self.from_leaf:
            return f"until_leaf {self.until_leaf} is before from_leaf {self.from_leaf}"
        if self.state == "active" and self.until_leaf is not None:
            return "an active key has no until_leaf: set state: superseded, or leave it out"
        if self.state == "superseded" and self.until_leaf is None:
            return "a superseded key needs until_leaf, the last leaf that it may have signed"
        if self.state != "revoked" and self.revoked_at_leaf is not None:
            return f"revoked_at_leaf is given, but the state is {self.state}"
        return None

    def binding(self, source: str) -> KeyBinding | None:
        """What the entry, which stands in `source`, says of what the key may sign; None if it says nothing."""
        if self.stores is None and self.logs is None:
            return None
        return KeyBinding(self.stores or (), self.logs or (), f"the entry of the key in {source}")

    def as_json(self) -> dict[str, Any]:
        """The entry without the members that say nothing by being left out."""
        silent = {name for name in ("revoked_at_leaf", "stores", "logs") if getattr(self, name) is None}
        return self.model_dump(mode="json", exclude=silent)

    def as_yaml(self) -> str:
        """The entry as it stands in the registry, below `keys:`."""
        values = self.as_json()
        lines = [f"{name}: {'null' if value is None else _plain(value)}" for name, value in values.items()]
        return "  - " + "\n    ".join(lines) + "\n"


def _plain(value: object) -> str:
    """A value as YAML on one line that reads back as the same. Key names and ids are quoted where they must be."""
    text = yaml.safe_dump(value, allow_unicode=True, width=1_000_000, default_flow_style=True)
    return str(text).removesuffix("...\n").strip()


@dataclass(frozen=True)
class KeyRegistry:
    """All registered keys, each once. `source` says where they were read, for messages."""

    keys: tuple[RegisteredKey, ...]
    source: str = DEFAULT_REGISTRY

    def of_use(self, use: Use) -> tuple[RegisteredKey, ...]:
        """The keys for rows, or those for checkpoints, in the order of the file."""
        return tuple(key for key in self.keys if key.use == use)

    def find(self, key_id: str) -> RegisteredKey | None:
        """The key of that id, whatever it is for."""
        return next((key for key in self.keys if key.key_id == key_id), None)

    @property
    def digest(self) -> str:
        """SHA-256 over everything in the registry that a verdict depends on."""
        decisive = (key.model_dump_json(exclude={"stores", "logs"}) for key in self.keys)
        return hashlib.sha256("".join(f"{key}\n" for key in decisive).encode()).hexdigest()


def entry_for(key: VerifierKey, use: Use, *, from_leaf: int = 0, binding: KeyBinding | None = None) -> RegisteredKey:
    """The entry of a key that begins to sign at `from_leaf`, for what the binding names, or for anything."""
    stores, logs = (binding.stores or None, binding.logs or None) if binding else (None, None)
    return RegisteredKey(
        name=key.name, vkey=str(key), key_id=key.key_id.hex(), use=use, from_leaf=from_leaf, stores=stores, logs=logs
    )


def refuse_double_use(keys: Iterable[RegisteredKey]) -> None:
    """Raise KeyRegistryError if one public key is given for rows and for checkpoints."""
    uses: dict[bytes, Use] = {}
    for entry in keys:
        if uses.setdefault(entry.key.public_key, entry.use) != entry.use:
            raise KeyRegistryError(
                "this public key is given for rows and for checkpoints, and each has its own keys: give another",
                where=entry.vkey,
                written="Nothing was verified",
            )


def load_registry(path: Path) -> KeyRegistry:
    """Read the registry.

    Raises KeyRegistryError, which names every wrong entry with its line, if the file is missing or not what it
    should be; nothing is opened but this file.
    """
    return parse_registry(read_registry(path), str(path))


def parse_registry(text: str, path: str) -> KeyRegistry:
    """The registry that a text spells; `path` is what messages call it. Raises KeyRegistryError as `load_registry`."""
    content, lines = _parse(text, path)
    if not isinstance(content, dict) or set(content) != {"keys"} or not isinstance(content["keys"], list | None):
        raise KeyRegistryError(
            "expected the one key `keys` with a list of entries", where=str(path), written="Nothing was verified"
        )
    keys, faults = [], []
    for line, entry in zip(lines, content["keys"] or (), strict=True):
        key = _entry(entry)
        if isinstance(key, str):
            faults.append(f"{path} line {line}: {key}")
        else:
            keys.append((line, key))
    faults += [f"{path} {objection}" for objection in _contradictions(keys)]
    if faults:
        raise KeyRegistryError("\n".join([*faults, "Nothing was verified."]))
    return KeyRegistry(tuple(key for _, key in keys), path)


def _entry(entry: Any) -> RegisteredKey | str:
    """One entry, or what is wrong with it."""
    try:
        key = RegisteredKey.model_validate(entry)
    except ValidationError as error:
        return "; ".join(_words(fault) for fault in error.errors(include_url=False, include_context=False))
    return key.objection() or key


def _words(fault: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in fault["loc"]) or "the entry"
    if fault["type"] == "extra_forbidden":
        return f'unknown key "{without_keys(name)}" (known: {", ".join(RegisteredKey.model_fields)})'
    if fault["type"] == "missing":
        return f'the key "{name}" is missing'
    return f"{name}: {str(fault['msg']).lower()}, found {cut(fault['input'])}"


def _contradictions(keys: list[tuple[int, RegisteredKey]]) -> Iterator[str]:
    """What no two entries may do: share a key id, or use one public key for two things or under two names."""
    by_id: dict[str, int] = {}
    by_public_key: dict[bytes, int] = {}
    for line, entry in keys:
        other = by_id.setdefault(entry.key_id, line)
        if other != line:
            yield f"line {line}: key id {entry.key_id} is registered already (line {other}); one entry a key"
            continue
        other = by_public_key.setdefault(entry.key.public_key, line)
        if other != line:
            yield (
                f"line {line}: the public key of line {other} again. Rows and checkpoints are signed with different "
                f"keys, and a key has one name: generate another"
            )


def read_registry(path: Path) -> str:
    """The text of a registry. Raises KeyRegistryError if there is none, or it cannot be read."""
    try:
        return read_bounded(path, root=None, limit=LONGEST).decode("utf-8")
    except FileNotFoundError:
        raise KeyRegistryError(
            "there is no such registry of keys",
            where=str(path),
            hint="Run from the project's top level or give --keys; its entries are what public-key prints",
            written="Nothing was verified",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise KeyRegistryError(
            "the registry cannot be read", where=str(path), seen=str(reason), written="Nothing was verified"
        ) from None


def _parse(text: str, path: str) -> tuple[Any, list[int]]:
    """The YAML as plain values, and the line of each entry."""
    try:
        root = compose(text)
        content = construct(root) if root is not None else None
        _refuse_repeated(path, root)
    except UnreadError as error:
        raise KeyRegistryError(str(error.at(path)), written="Nothing was verified") from None
    entries = next((v for _, v in root.value), None) if isinstance(root, yaml.MappingNode) else None
    children = entries.value if isinstance(entries, yaml.SequenceNode) else []
    return content, [child.start_mark.line + 1 for child in children]


def _refuse_repeated(path: str, node: yaml.Node | None) -> None:
    """YAML lets the last of two equal keys win; here the reader must not have to know that."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise KeyRegistryError(
                    f"{without_keys(key.value)} is given twice",
                    where=f"{path} line {line}",
                    written="Nothing was verified",
                )
            seen.add(key.value)
            _refuse_repeated(path, value)
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_repeated(path, child)
