"""What a key may sign, said beside the key, where no job file reaches.

    in a key file, below the key        store: /data/facts.db
                                        log: example.org/log
    beside a key in the variable NAME   NAME_SIGNS='store=/data/facts.db;log=example.org/log'

A store is the absolute path of a database, a log is an origin; there may be several of each. What cannot be read is
refused as a whole: a binding that was meant and not understood must not become none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tasks.core.terminal import holds_key, printable

SUFFIX: Final = "_SIGNS"
"""What follows the name of a key's variable in the name of the variable with its binding."""

_ORIGIN = re.compile(r"[^\s\x00-\x1f+]{1,200}")  # as in the job file
_FORMS = {":": "`store: PATH` or `log: ORIGIN`", "=": "store=PATH or log=ORIGIN"}

Kind = Literal["store", "log"]


@dataclass(frozen=True)
class KeyBinding:
    """The stores and logs that a key may sign for, as they are written. `source` says where, for messages."""

    stores: tuple[str, ...]
    logs: tuple[str, ...]
    source: str

    def names_store(self, path: str | os.PathLike[str]) -> bool:
        """Whether the path leads to one of the stores, whatever links it, or they, go over."""
        return os.path.realpath(path) in {os.path.realpath(store) for store in self.stores}

    def named(self, kind: Kind) -> str:
        """`the store /data/facts.db`, `no store`."""
        names = [printable(name) for name in (self.stores if kind == "store" else self.logs)]
        plural = "s" if len(names) > 1 else ""
        return f"the {kind}{plural} {', '.join(names)}" if names else f"no {kind}"


def objection_to(kind: str, value: str) -> str | None:
    """What is wrong with one name of a binding, in words that do not show it, or None."""
    if holds_key(value):
        return "has 64 hex digits, which may be a private key, where a name belongs"
    if kind == "store" and ("\0" in value or not Path(value).is_absolute()):
        return "is no absolute path"
    return "is no origin of a log" if kind == "log" and not _ORIGIN.fullmatch(value) else None


def binding_in_variable(environ: Mapping[str, str], key_variable: str) -> KeyBinding | str | None:
    """What is said beside a key in the environment, what is wrong with it, or None if nothing is said."""
    name = key_variable + SUFFIX
    if name not in environ:
        return None
    found = _parsed(enumerate(re.split("[;\n]", environ[name]), 1), source=name, item="item", mark="=")
    if isinstance(found, KeyBinding) and not found.stores + found.logs:
        return f"{name} is empty, expected {_FORMS['=']}: unset it if the key may sign for any store"
    return found


def binding_in_file(content: bytes, path: str) -> KeyBinding | str | None:
    """What is said in a key file below the key's line, what is wrong with it, or None if nothing is said."""
    try:
        lines = content.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        return f"{path} has bytes below the key that are not UTF-8, expected {_FORMS[':']}"
    found = _parsed(enumerate(lines, 2), source=path, item="line", mark=":")
    return None if isinstance(found, KeyBinding) and not found.stores + found.logs else found


def _parsed(items: Iterable[tuple[int, str]], *, source: str, item: str, mark: str) -> KeyBinding | str:
    """Items that are blank say nothing. What an item holds is never shown: it may be a key."""
    names: dict[str, list[str]] = {"store": [], "log": []}
    for number, text in items:
        if not text.strip():
            continue
        kind, found, value = (part.strip() for part in text.partition(mark))
        if kind not in names or not found or not value:
            return f"{source} {item} {number}: expected {_FORMS[mark]}, found something else, which is not shown"
        objection = objection_to(kind, value)
        if objection:
            return f"{source} {item} {number}: the {kind} {objection}; it is not shown"
        names[kind].append(value)
    return KeyBinding(tuple(names["store"]), tuple(names["log"]), source)
