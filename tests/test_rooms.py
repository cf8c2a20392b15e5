"""Every module of tasks/ stands in a room, arrows between rooms point one way, and each room keeps to its business.

The rules are in support/rooms.py; docs/architecture.md draws them.
"""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import indent

import pytest
from support import rooms
from support.rooms import (
    Module,
    Rule,
    arrows_that_point_back,
    files_too_long,
    functions_too_long,
    libraries_in_other_rooms,
    read_modules,
    statements_in_other_rooms,
    stores_that_are_named,
    without_a_room,
    words_of_one_engine,
)

TOP = Path(__file__).parents[1]
RULES = (
    without_a_room, arrows_that_point_back, stores_that_are_named, libraries_in_other_rooms, statements_in_other_rooms,
    words_of_one_engine, files_too_long, functions_too_long,
)  # fmt: skip

MEND = "what an operator is told to type, in the SQL that every database speaks"

ALLOWED: dict[Rule, dict[str, str]] = {
    functions_too_long: {
        "tasks/derivation/batch.py: derive_batch": "one loop over millions of facts, where a call each would be felt",
    },
    statements_in_other_rooms: {
        "tasks/contract/mends.py: Add it: ALTER TABLE ? ADD COLUMN notes TEXT": MEND,
        'tasks/contract/resolving.py: Create one: CREATE INDEX "ix_?_?" ON "?" ("?").': MEND,
    },
    words_of_one_engine: {
        "tasks/cli/common.py: wal": "it tells an auditor what is left alone beside a copy",
        "tasks/contract/binding.py: rowid": "digests of runs that an earlier version planned spell a field so",
        "tasks/explain.py: apsw": "it tells an application which connections it takes",
        "tasks/explain.py: sqlite": "it tells an application what a second SQLite library in its process would do",
        **dict.fromkeys(
            (f"tasks/job/sqlite_settings.py: {word}" for word in ("autocheckpoint", "cache mib", "sqlite", "wal")),
            "the section of a job file that is about one engine",
        ),
        "tasks/job/settings.py: sqlite": "the name of that section",
        "tasks/job/store_place.py: sqlite": "what a bare path in the job file is, and sqlite:///path",
        "tasks/stores/open.py: sqlite": "the one place that names a store",
    },
}
"""What stays, and why."""


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    return read_modules(TOP)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_nothing_breaks_the_rule_but_what_is_listed_with_its_reason(rule: Rule, modules: list[Module]) -> None:
    allowed, found = ALLOWED.get(rule, {}).keys(), set(rule(modules))
    assert sorted(found - allowed) == [], rule.__doc__
    assert sorted(allowed - found) == [], "nothing is allowed that nobody does"


DOCUMENTS = (TOP / "README.md", *sorted((TOP / "docs").glob("*.md")))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_of_the_code_that_a_page_names_is_there(document: Path) -> None:
    named = re.findall(
        r"(?<![\w./-])(?:tasks|tests|config|docs)/[\w./-]*\w|(?<=`)[\w/]+\.py(?=`)", document.read_text()
    )
    assert [path for path in named if not (TOP / path).exists()] == []


def test_the_map_shows_the_floors_as_they_are() -> None:
    drawing = (TOP / "docs" / "architecture.md").read_text().split("```")[1]
    floors = [set(line[:26].replace("/*.py", "").split()) for line in drawing.strip("\n").splitlines()]
    assert floors == [set(floor) for floor in reversed(rooms.ROOMS)]


def house(top: Path, **files: str) -> list[Module]:
    """A made-up tasks/: `core__values="…"` is tasks/core/values.py."""
    for name, source in files.items():
        path = top / "tasks" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return read_modules(top)


LUIGI = "from tasks.luigi_support.base_task import JobTask\n"


def test_a_folder_that_no_floor_names_and_a_stray_module_are_found(tmp_path: Path) -> None:
    modules = house(tmp_path, engine__loop="", core__clock="", explain="", helpers="import os\n", report=LUIGI)
    assert list(without_a_room(modules)) == [
        "tasks/engine/loop.py: tasks/engine is no room",
        "tasks/helpers.py: no Luigi task",
    ]


@pytest.mark.parametrize(
    "written",
    [
        "from tasks.runs.plans import Plan",
        "import tasks.runs.plans",
        "from tasks.runs import plans",
        "from tasks import runs",
        "from ..runs import plans",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tasks.runs.plans import Plan",
        "def late() -> None:\n    from tasks.runs.plans import Plan",
        "try:\n    import tasks.runs\nexcept ImportError:\n    pass",
        'from importlib import import_module\nplans = import_module("tasks.runs.plans")',
    ],
)
def test_an_arrow_that_points_back_is_found_however_it_is_written(written: str, tmp_path: Path) -> None:
    (found,) = arrows_that_point_back(house(tmp_path, job__settings=written))
    assert found.startswith("tasks/job/settings.py: job imports tasks") and found.endswith("(runs)")


def test_arrows_that_point_down_or_stay_in_their_room_are_none(tmp_path: Path) -> None:
    modules = house(
        tmp_path,
        runs__loop="from tasks.runs import plans\nfrom . import plans\nfrom tasks.core.clock import now\nimport os",
        report="from tasks.plan_chunks import PlanChunks\nfrom tasks.reporting.close import close_run",
    )
    assert list(arrows_that_point_back(modules)) == []


@pytest.mark.parametrize(
    ("name", "written", "found"),
    [
        ("derivation__rules", "from tasks.attestation import payload", "derivation imports tasks.attestation"),
        ("attestation__payload", "import tasks.derivation.rules", "attestation imports tasks.derivation.rules"),
        ("cli__main", "from tasks import Report", "cli imports tasks"),
        ("report", "from tasks.cli.main import main", "tasks imports tasks.cli.main"),
        ("core__clock", "from tasks.engine import loop", "core imports tasks.engine"),
    ],
)
def test_neighbours_on_one_floor_do_not_see_each_other(name: str, written: str, found: str, tmp_path: Path) -> None:
    (arrow,) = arrows_that_point_back(house(tmp_path, **{name: written}))
    assert f": {found} (" in arrow


def test_a_concrete_store_is_named_where_stores_are_opened_and_nowhere_else(tmp_path: Path) -> None:
    named = "def open_it() -> None:\n    from tasks.stores.sqlite import session\n"
    modules = house(
        tmp_path, stores__open=named, stores__sqlite__gate=named, runs__loop=named, stores__protocols__facts=named,
        stores__sqlite__session="from tasks.stores.open import open_store",
        backfill__chunk="from tasks.stores.open import open_store\nfrom tasks.stores import sqlite",
    )  # fmt: skip
    assert list(stores_that_are_named(modules)) == [
        "tasks/backfill/chunk.py: imports tasks.stores",
        "tasks/runs/loop.py: imports tasks.stores.sqlite",
        "tasks/stores/protocols/facts.py: imports tasks.stores.sqlite",
        "tasks/stores/sqlite/session.py: imports tasks.stores.open",
    ]


def test_a_library_is_imported_in_its_own_rooms_and_nowhere_else(tmp_path: Path) -> None:
    both = "import apsw\nfrom luigi.worker import Worker\n"
    modules = house(
        tmp_path, stores__sqlite__session=both, report=both, luigi_support__worker=both,
        core__clock="def late() -> None:\n    import sqlite3, tornado.web\n",
    )  # fmt: skip
    assert list(libraries_in_other_rooms(modules)) == [
        "tasks/core/clock.py: imports sqlite3",
        "tasks/core/clock.py: imports tornado",
        "tasks/luigi_support/worker.py: imports apsw",
        "tasks/report.py: imports apsw",
        "tasks/stores/sqlite/session.py: imports luigi",
    ]


@pytest.mark.parametrize(
    "written",
    [
        'QUERY = "SELECT 1"',
        'QUERY = f"SELECT {name} FROM {table}"',
        'QUERY = "  UPDATE facts "\\\n    "SET a = 1"',
        "QUERY = 'WITH a AS (SELECT 1) DELETE FROM b'",
        'LAST = " ORDER BY id"',
        'MODE = "PRAGMA foreign_keys = ON"',
        'END = ("COMMIT",)',
    ],
)
def test_a_statement_in_another_room_is_found(written: str, tmp_path: Path) -> None:
    modules = house(tmp_path, runs__loop=written, stores__sqlite__sql__run=written)
    (found,) = statements_in_other_rooms(modules)
    assert found.startswith("tasks/runs/loop.py: ")


def test_a_call_that_runs_a_statement_is_found_and_prose_is_not(tmp_path: Path) -> None:
    prose = '"""SELECT is a word of SQL."""\nTOLD = "Select a run, update its key or delete it from there."\n'
    assert list(statements_in_other_rooms(house(tmp_path, runs__loop=prose))) == []
    modules = house(tmp_path, runs__loop=prose + "def run(c: object) -> None:\n    c.executemany(QUERY, [])\n")
    assert list(statements_in_other_rooms(modules)) == ["tasks/runs/loop.py: calls executemany"]


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ("key_is_rowid = 1", "rowid"),
        ("class SqliteSession: ...", "sqlite"),
        ('TOLD = "It is no SQLite file."', "sqlite"),
        ('"""Sets a pragma."""', "pragma"),
        ("wal_autocheckpoint_pages = 1", "autocheckpoint"),
        ("wal_pages = 1", "wal"),
        ("a = 1  # beside the -wal file", "wal"),
        ("def roll_back_hot_journal() -> None: ...", "hot journal"),
        ("journal_mode = 1", "journal mode"),
        ("a = 1  # the write-ahead log grows", "write ahead log"),
        ('TOLD = f"{a} in the page cache"', "page cache"),
    ],
)
def test_a_word_of_one_engine_is_found_in_names_strings_and_comments(written: str, word: str, tmp_path: Path) -> None:
    modules = house(tmp_path, runs__loop=written, stores__sqlite__session=written)
    assert f"tasks/runs/loop.py: {word}" in list(words_of_one_engine(modules))
    assert {module.path for module in modules if list(words_of_one_engine([module]))} == {"tasks/runs/loop.py"}


def test_words_that_only_contain_one_are_none_nor_is_a_path_to_where_they_belong(tmp_path: Path) -> None:
    plain = (
        "from tasks.stores.sqlite.session import SqliteSession\n"
        "walls = 'a wallet, borrowed'  # as stores/sqlite/sql/plain.py says\n"
    )
    assert list(words_of_one_engine(house(tmp_path, runs__loop=plain))) == []


def test_a_line_too_many_is_found_in_a_file_and_in_a_function(tmp_path: Path) -> None:
    def function(lines: int) -> str:
        return "@staticmethod\ndef told() -> None:\n" + "    pass\n" * (lines - 1)

    most, most_of_one = rooms.MOST_LINES, rooms.MOST_LINES_OF_A_FUNCTION
    modules = house(
        tmp_path, core__full="#\n" * most, core__over="#\n" * (most + 1),
        job__full=function(most_of_one), job__over="class A:\n" + indent(function(most_of_one + 1), "  "),
    )  # fmt: skip
    (tmp_path / "tasks" / "core" / "over.sql").write_text("--\n" * (most + 1))
    assert list(files_too_long(read_modules(tmp_path))) == ["tasks/core/over.py", "tasks/core/over.sql"]
    assert list(functions_too_long(modules)) == ["tasks/job/over.py: told"]
