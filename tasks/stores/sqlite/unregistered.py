"""Functions and collations that an application registers on its own connections: no other can use what is declared with
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tasks.contract.catalogue import Catalogue
from tasks.contract.findings import Drift

# What SQLite says where a statement would need one.
_SAID = re.compile(r"no such (collation) sequence: (\S+)|(?:unknown|no such) (function): (\w+)")
_NAMED = re.compile(
    r"""CREATE\s+(?:UNIQUE\s+)?(TABLE|INDEX|TRIGGER|VIEW)\s+(?:IF\s+NOT\s+EXISTS\s+)?
        ("(?:[^"]|"")*"|\[[^\]]*\]|`[^`]*`|[^\s(]+)""",
    re.IGNORECASE | re.VERBOSE,
)


def told_by_object(drift: Iterable[Drift], catalogue: Catalogue) -> list[Drift]:
    """The same drift, but what fails for want of a function or collation told once for each object that uses it."""
    kept, wanted = list[Drift](), dict[tuple[str, str], None]()
    for item in drift:
        found = _SAID.search(item.problem)
        if found is None:
            kept.append(item)
        else:
            wanted[(found[1] or found[3], found[2] or found[4])] = None
    for kind, name in wanted:
        kept += _users(kind, name, catalogue)
    return kept


def _users(kind: str, name: str, catalogue: Catalogue) -> list[Drift]:
    """One line for each object whose declaration holds the name; one for all, if it is in none."""
    found = list(_declared(name, catalogue)) or [("the database", "something in it")]
    mend = "Only the application registers it: declare that without it, or keep it out of the tables that the job uses."
    problem = f'the {kind} "{name}", which is not registered here'
    return [Drift(table, f"{what} uses {problem}", "", mend) for table, what in found]


def _declared(name: str, catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    word = re.compile(rf"\b{re.escape(name)}\b", re.IGNORECASE)
    for table in catalogue.tables:
        for sql in table.sql:
            head = _NAMED.match(sql)
            if head and word.search(sql, head.end()):
                is_table = head[1].upper() == "TABLE"
                yield table.name, "its declaration" if is_table else f"its {head[1].lower()} {head[2]}"
