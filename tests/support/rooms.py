"""Reads every module under tasks/ and says where one does not keep to its room.

A rule takes the modules and yields a line for each thing that breaks it, without line numbers: what it says stays
the same while other parts of the file change.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOMS = (
    ("core",),
    ("derivation", "attestation"),
    ("job",),
    ("contract",),
    ("stores",),
    ("sealed_log",),
    ("runs",),
    ("backfill",),
    ("rows",),
    ("audit",),
    ("reporting",),
    ("sample",),
    ("luigi_support",),
    ("cli", "tasks"),
)
"""From the ground up. A room imports itself and what stands below it; rooms on one floor do not see each other.

`tasks` are the modules right under tasks/.
"""

MOST_LINES = 300
MOST_LINES_OF_A_FUNCTION = 40

_LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
_OUR_NAME = re.compile(r"tasks(\.\w+)+")
_SQLITE = "tasks.stores.sqlite"
_OPEN = "tasks.stores.open"
_PROTOCOLS = "tasks.stores.protocols"
_STATEMENT = re.compile(
    r"\A\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|PRAGMA|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|ATTACH|DETACH"
    r"|VACUUM|ANALYZE|REINDEX|EXPLAIN|WITH|VALUES|REPLACE)\b"
    r"|\bSELECT\b.*\bFROM\b|\bINSERT\b.*\bINTO\b|\bUPDATE\b.*\bSET\b|\bDELETE FROM\b"
    r"|\b(CREATE|ALTER|DROP) (TEMP |UNIQUE )*(TABLE|INDEX|VIEW|TRIGGER)\b|\bPRAGMA \w|\bORDER BY\b|\bGROUP BY\b",
    re.DOTALL,
)
_ENGINE_WORD = re.compile(
    r"\b(apsw|sqlite|wal|write ahead log|rowid|pragmas?|hot journals?|rollback journal|journal mode|page cache|"
    r"cache size|cache mib|autocheckpoint|autoincrement|busy timeout)\b"
)
_A_PATH_OF_IT = re.compile(r"\bstores[./]sqlite[./][\w./]+")


@dataclass(frozen=True)
class Import:
    """A module that is imported, under whatever condition, and the names that are taken from it."""

    module: str
    names: tuple[str, ...] = ()

    def is_of(self, package: str) -> bool:
        return any(f"{name}.".startswith(f"{package}.") for name in (self.module, *self.full_names))

    @property
    def full_names(self) -> list[str]:
        return [f"{self.module}.{name}" for name in self.names]


@dataclass(frozen=True)
class Module:
    """One file under tasks/; `path` is relative to what holds tasks/."""

    path: str
    source: str

    @property
    def is_python(self) -> bool:
        return self.path.endswith(".py")

    @property
    def name(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def room(self) -> str:
        parts = self.path.split("/")
        return parts[1] if len(parts) > 2 else "tasks"

    def stands_in(self, package: str) -> bool:
        return f"{self.name}.".startswith(f"{package}.")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def imports(self) -> list[Import]:
        return [found for node in ast.walk(self.tree) for found in self._imports_of(node)]

    @property
    def knows_luigi(self) -> bool:
        return any(found.is_of("luigi") or found.is_of("tasks.luigi_support") for found in self.imports)

    def _imports_of(self, node: ast.AST) -> Iterator[Import]:
        """Imports wherever they stand, and modules of ours that a string names, as `import_module` takes it."""
        if isinstance(node, ast.Import):
            yield from (Import(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield Import(self._absolute(node), tuple(alias.name for alias in node.names))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _OUR_NAME.fullmatch(node.value):
            yield Import(node.value)

    def _absolute(self, node: ast.ImportFrom) -> str:
        package = self.name if self.path.endswith("/__init__.py") else self.name.rpartition(".")[0]
        for _ in range(node.level - 1):
            package = package.rpartition(".")[0]
        return ".".join(filter(None, (package, node.module))) if node.level else node.module or ""

    @cached_property
    def texts(self) -> list[str]:
        """Every string but docstrings; what an f-string fills in is a question mark."""
        skipped = {id(node) for node in _docstrings(self.tree)}
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.JoinedStr):
                skipped.update(id(part) for part in node.values)
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "?" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
                found.append(node.value)
        return found


Rule = Callable[[Sequence[Module]], Iterator[str]]


def read_modules(top: Path) -> list[Module]:
    """Every file of code under `top`/tasks."""
    files = sorted(path for path in (top / "tasks").rglob("*") if path.suffix in {".py", ".sql", ".c", ".h"})
    return [Module(path.relative_to(top).as_posix(), path.read_text(encoding="utf-8")) for path in files]


def without_a_room(modules: Sequence[Module]) -> Iterator[str]:
    """A folder that no floor names; and right under tasks/, what is neither a Luigi task nor the library for APIs."""
    for module in modules:
        if module.room not in _LEVEL:
            yield f"{module.path}: tasks/{module.room} is no room"
        elif module.room == "tasks" and module.name not in {"tasks", "tasks.explain"} and not module.knows_luigi:
            yield f"{module.path}: no Luigi task"


def arrows_that_point_back(modules: Sequence[Module]) -> Iterator[str]:
    """An import of a room above, or of the neighbour on the same floor."""
    for module, found in _our_imports(modules):
        other = _room_of(found)
        if other != module.room and _LEVEL.get(other, len(ROOMS)) >= _LEVEL.get(module.room, -1):
            yield f"{module.path}: {module.room} imports {found.module} ({other})"


def stores_that_are_named(modules: Sequence[Module]) -> Iterator[str]:
    """One concrete store named outside it, but where stores are opened; and within stores/ what points back."""
    for module, found in _our_imports(modules):
        if found.is_of(_SQLITE) and not module.stands_in(_SQLITE) and module.name != _OPEN:
            yield f"{module.path}: imports {found.module}"
        if found.is_of(_OPEN) and module.stands_in("tasks.stores") and module.name != _OPEN:
            yield f"{module.path}: imports {found.module}"


def libraries_in_other_rooms(modules: Sequence[Module]) -> Iterator[str]:
    """A database's library outside its store, and Luigi outside tasks/*.py and luigi_support."""
    for module in filter(lambda module: module.is_python, modules):
        for found in module.imports:
            top = found.module.partition(".")[0]
            if top in {"apsw", "sqlite3"} and not module.stands_in(_SQLITE):
                yield f"{module.path}: imports {top}"
            if top in {"luigi", "tornado"} and module.room not in {"tasks", "luigi_support"}:
                yield f"{module.path}: imports {top}"


def statements_in_other_rooms(modules: Sequence[Module]) -> Iterator[str]:
    """SQL text, or a call that runs some, outside the store; it is built in stores/sqlite/sql alone."""
    for module in filter(lambda module: module.is_python and not module.stands_in(_SQLITE), modules):
        for text in filter(_STATEMENT.search, module.texts):
            yield f"{module.path}: {' '.join(text.split())[:60]}"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and node.attr in {"execute", "executemany", "executescript"}:
                yield f"{module.path}: calls {node.attr}"


def words_of_one_engine(modules: Sequence[Module]) -> Iterator[str]:
    """A word that only one database engine has, in a name, a string, a comment or a docstring outside its store."""
    for module in filter(lambda module: module.is_python and not module.stands_in(_SQLITE), modules):
        for word in sorted(set(_ENGINE_WORD.findall(_in_plain_words(module)))):
            yield f"{module.path}: {word}"


def files_too_long(modules: Sequence[Module]) -> Iterator[str]:
    """More than MOST_LINES."""
    for module in modules:
        if len(module.source.splitlines()) > MOST_LINES:
            yield module.path


def functions_too_long(modules: Sequence[Module]) -> Iterator[str]:
    """More than MOST_LINES_OF_A_FUNCTION from `def` to the last line, docstring and all."""
    for module in filter(lambda module: module.is_python, modules):
        for node in ast.walk(module.tree):
            is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            if is_function and (node.end_lineno or 0) - node.lineno + 1 > MOST_LINES_OF_A_FUNCTION:
                yield f"{module.path}: {node.name}"


def _our_imports(modules: Sequence[Module]) -> Iterator[tuple[Module, Import]]:
    for module in filter(lambda module: module.is_python, modules):
        yield from ((module, found) for found in module.imports if found.is_of("tasks"))


def _room_of(found: Import) -> str:
    """The room of what is imported: of `from tasks import stores` too, and `tasks` for a module right under it."""
    for name in (found.module, *found.full_names):
        parts = name.split(".")
        if len(parts) > 1 and parts[1] in _LEVEL:
            return parts[1]
    return "tasks" if len(found.module.split(".")) < 3 else found.module.split(".")[1]


def _docstrings(tree: ast.Module) -> Iterator[ast.AST]:
    """The strings that stand for themselves: docstrings, and what describes a constant below it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def _in_plain_words(module: Module) -> str:
    """The file but for imports and for paths of the store's modules, in lower case, names taken apart.

    So `keyIsRowid` and `key_is_rowid` are alike.
    """
    lines = module.source.splitlines()
    for node in ast.walk(module.tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or node.lineno) - node.lineno + 1)
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", _A_PATH_OF_IT.sub("", "\n".join(lines)))
    return re.sub(r"[\W_]+", " ", apart.replace("SQLite", "sqlite")).lower()
