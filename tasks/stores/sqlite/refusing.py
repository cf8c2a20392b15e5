"""What is wrong with a database, as one error, and what no binding could be made of at all."""

from __future__ import annotations

import apsw

from tasks.contract.findings import Drift
from tasks.core.errors import DriftError
from tasks.job.settings import Settings
from tasks.stores.sqlite.catalogue import text_encoding
from tasks.stores.sqlite.sql.spelling import STAGING


def drift_error(drift: list[Drift]) -> DriftError:
    """All drift as one error, a line each."""
    lines = list(dict.fromkeys(str(item) for item in drift))
    if len(lines) == 1:
        return DriftError(f"{lines[0]} Nothing was written.")
    return DriftError("\n".join([f"{len(lines)} things to mend:", *lines, "Nothing was written."]))


def configured_names(settings: Settings) -> tuple[str, ...]:
    """Every table that the job file names."""
    tables = settings.tables
    named = (tables.facts, tables.source, tables.metadata, tables.attestation_log)
    return (*(table.name for table in named), *tables.ledger.model_dump().values())


def refuse_unusable(connection: apsw.Connection, settings: Settings) -> None:
    """What no binding could be made of, before anything else is asked: raises DriftError, one line.

    In another text encoding every name comes as other bytes, and nothing that is said of the tables would be true.
    """
    path = settings.place.path
    encoding = text_encoding(connection)
    if encoding != "UTF-8":
        mend = "Dump it and load it into a database made with PRAGMA encoding = 'UTF-8'."
        raise drift_error(
            [Drift(f"database {path}", f"text encoding is {encoding}, only UTF-8 is supported", "", mend)]
        )
    hidden = [name for name in configured_names(settings) if name.lower() == STAGING]
    if hidden:
        mend = "Rename the table, or name the one that is meant in the job file."
        raise drift_error([Drift(hidden[0], "this is what the job calls its temporary table", "", mend)])
