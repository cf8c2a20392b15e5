"""The canonical tables, to be changed in one place before a store is made of them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tasks.stores.sqlite.schema_file import canonical_statements


def quoted(name: str) -> str:
    """An identifier as SQL text."""
    return '"' + name.replace('"', '""') + '"'


class Schema:
    """The canonical CREATE statements, to be changed before a store is made of them. Every method gives the schema.

    A change that finds nothing to change is an error, so that no test passes for a mutation that did not happen.
    """

    def __init__(self) -> None:
        self._statements = [list(statement) for statement in canonical_statements()]
        self._then: list[str] = []

    def text(self, name: str) -> str:
        """The statement that creates the object of that canonical name."""
        return next(text for _, found, _, text in self._statements if found == name)

    def replace(self, name: str, old: str, new: str) -> Schema:
        """Change a part of one statement. Runs of blanks count as one."""
        text = " ".join(self.text(name).split())
        assert old in text, f"{old!r} is not in: {text}"
        for statement in self._statements:
            if statement[1] == name:
                statement[3] = text.replace(old, new)
        return self

    def rename_table(self, old: str, new: str) -> Schema:
        """Everywhere: in its own statement, in its indexes and in the views."""
        self._replace_token(old, new, [statement[1] for statement in self._statements])
        return self

    def rename_column(self, table: str, old: str, new: str) -> Schema:
        """In the table and in its indexes; the views keep the old name."""
        self._replace_token(old, new, [name for _, name, on_table, _ in self._statements if on_table == table])
        return self

    def drop_column(self, table: str, column: str) -> Schema:
        """With the CHECKs that hold it and the indexes on it alone; an index on more loses the column."""
        head, parts = self.parts(table)
        kept = [part for part in parts if not re.search(rf"\b{column}\b", _without_reference(part))]
        assert len(kept) < len(parts), f"{table} has no {column}"
        self.declare(table, head, kept)
        for statement in self._statements:
            if statement[0] == "index" and statement[2] == table:
                statement[3] = re.sub(rf", {column}\b[^,)]*", "", statement[3])
        self._statements = [
            s for s in self._statements if not (s[0] == "index" and s[2] == table and re.search(rf"\b{column}\b", s[3]))
        ]
        return self

    def add(self, table: str, part: str) -> Schema:
        """One more column (put before the CHECKs and keys) or one more constraint (put last)."""
        head, parts = self.parts(table)
        is_constraint = part.split("(")[0].split()[0].upper() in ("CHECK", "PRIMARY", "UNIQUE", "FOREIGN")
        first = next((i for i, p in enumerate(parts) if p.split("(")[0].split()[0] in ("CHECK", "PRIMARY")), len(parts))
        parts.insert(len(parts) if is_constraint else first, part)
        return self.declare(table, head, parts)

    def change_column(self, table: str, column: str, declaration: str) -> Schema:
        """Give a column another declaration: `declaration` holds its name as well."""
        head, parts = self.parts(table)
        assert any(part.split()[0] == column for part in parts), f"{table} has no {column}"
        return self.declare(table, head, [declaration if part.split()[0] == column else part for part in parts])

    def table_option(self, table: str, option: str) -> Schema:
        """`STRICT` or `WITHOUT ROWID` at the end of a table's statement."""
        for statement in self._statements:
            if statement[1] == table:
                statement[3] += f" {option}"
        return self

    def drop(self, *names: str) -> Schema:
        """Leave out tables (with their indexes), indexes or views."""
        for name in names:
            assert any(name in (s[1], s[2]) for s in self._statements), name
        self._statements = [s for s in self._statements if s[1] not in names and s[2] not in names]
        return self

    def sidecar_missing(self) -> Schema:
        """Leave out everything that ApplySchema creates."""
        kept = ("am_source", "am_entity_facts", "am_fact_signature")
        self._statements = [s for s in self._statements if s[2] in kept]
        return self

    def then(self, *sql: str) -> Schema:
        """Statements to run after the schema is created: a trigger, an index, a view."""
        self._then += sql
        return self

    def statements(self) -> list[str]:
        return [*(text for _, _, _, text in self._statements), *self._then]

    def parts(self, table: str) -> tuple[str, list[str]]:
        """A table's statement as (text before the parenthesis, its columns and constraints)."""
        head, _, rest = self.text(table).partition("(")
        return head, [" ".join(part.split()) for part in _split_at_commas(rest[: rest.rindex(")")])]

    def declare(self, table: str, head: str, parts: Iterable[str]) -> Schema:
        for statement in self._statements:
            if statement[1] == table:
                statement[3] = f"{head}({', '.join(parts)})"
        return self

    def _replace_token(self, old: str, new: str, names: list[str]) -> None:
        found = 0
        for statement in self._statements:
            if statement[1] in names:
                statement[3], count = re.subn(rf"\b{old}\b", lambda _: quoted(new), statement[3])
                found += count
        assert found, f"nothing is called {old}"


def _without_reference(part: str) -> str:
    """A column's declaration without what it refers to: am_source (id) is not a column here."""
    return re.sub(r"REFERENCES.*", "", part)


def _split_at_commas(text: str) -> list[str]:
    """Split where a comma stands outside all parentheses."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]
