"""Which rules for single rows a store has that the canonical shape has not, as its declarations say."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.contract.binding import Binding
from tasks.contract.catalogue import Catalogue, Table
from tasks.stores.sqlite.schema_file import canonical_statements

_TOKEN = re.compile(
    r"--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]|[\w$.]+|\S", re.DOTALL
)
_TRIED = "a dry run tries each row on an empty copy of the table"
_BLIND = ", so it does not foresee a conflict with a row that is there already, or that another chunk writes"


def own_rules(binding: Binding, catalogue: Catalogue) -> tuple[str, ...]:
    """The rules for single rows of the metadata and the log that the canonical shape has not, in words."""
    bound = (("am_fact_metadata", binding.metadata), ("am_fact_attestation_log", binding.log))
    return tuple(
        rule
        for canonical, columns in bound
        if (table := catalogue.table(columns.table)) is not None
        for rule in _own_rules(table, canonical)
    )


def _own_rules(table: Table, canonical: str) -> Iterator[str]:
    text = next(sql for _, name, _, sql in canonical_statements() if name == canonical)
    usual = set(_checks(text))
    for check in _checks(table.sql[0]) if table.sql else ():
        if check not in usual:
            yield f"{table.name} has a rule of its own, {check}: {_TRIED}"
    if any(token.upper() == "REFERENCES" for token in _TOKEN.findall(table.sql[0] if table.sql else "")):
        yield f"{table.name} has a rule of its own, a foreign key: a dry run does not foresee a row that breaks it"
    for column in table.columns:
        if column.generated:
            yield f'{table.name} has a rule of its own, the generated column "{column.name}": {_TRIED}'
    for index in table.indexes:
        is_key = index.is_primary_key or any(index.is_unique_on(column.name) for column in table.columns)
        if None in index.columns or index.partial or (index.unique and not is_key):
            blind = _BLIND if index.unique else ""
            yield f'{table.name} has a rule of its own, the index "{index.name}": {_TRIED}{blind}'


def _checks(sql: str) -> Iterator[str]:
    """The CHECKs of a CREATE TABLE, each in one spelling."""
    tokens = [token for token in _TOKEN.findall(sql) if not token.startswith(("--", "/*"))]
    for start, token in enumerate(tokens):
        if token.upper() == "CHECK":
            depth, end = 0, start + 1
            while end < len(tokens):
                depth += {"(": 1, ")": -1}.get(tokens[end], 0)
                end += 1
                if depth == 0:
                    break
            yield " ".join(map(_plain, tokens[start:end]))


def _plain(token: str) -> str:
    """A token in the spelling that is compared: words in lower case, names without quotes."""
    if token[0] in '"`[':
        return token[1:-1].lower()
    return token if token[0] == "'" else token.lower()
