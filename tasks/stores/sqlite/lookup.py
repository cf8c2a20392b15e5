"""The one query of an API, on a connection that is the application's own.

The connection may be of any SQLite library: the standard library's, apsw's, or one that wraps them and speaks like
them. It is the application's: it is never opened, closed, committed or set to anything, whatever transaction is open
goes on, and so no lock of the process is lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tasks.contract.binding import AttestationBinding, LogBinding, MetadataBinding
from tasks.core.errors import DriftError
from tasks.job.commands import luigi_command
from tasks.job.settings import Settings
from tasks.stores.protocols.attestations import Provenance
from tasks.stores.sqlite.attestations import decode_provenance
from tasks.stores.sqlite.compiling import plan_problems
from tasks.stores.sqlite.sql.attestations import AttestationSql
from tasks.stores.sqlite.sql.declarations import plan_of

_BEFORE_3_36 = re.compile(r"^(SCAN|SEARCH) TABLE .* AS (\w+)")
_NO_SUCH = "no such "  # how SQLite begins what it says of a name that is not there, whichever library passes it on


def look_up(connection: Any, settings: Settings, fact_ids: Sequence[str]) -> dict[str, Provenance]:
    """What the database behind `connection` says of facts, in one query however many there are.

    1. Let SQLite make the query's plan, which executes nothing. A log without `signed_at` is asked without it.
    2. Refuse a plan that would walk a large table. 3. Run it.

    Raises DriftError where metadata or log, one of their columns or an index that it takes is missing; any other error
    is the connection's own, of its own library.
    """
    with _cursor(connection) as cursor:
        try:
            return _ask(cursor, settings, _binding(settings), fact_ids)
        except _NoSuchNameError as error:
            if settings.tables.attestation_log.signed_at is None or "signed_at" not in str(error):
                raise DriftError(_missing(error, settings)) from None
        try:
            return _ask(cursor, settings, _binding(settings, signed_at=False), fact_ids)
        except _NoSuchNameError as error:
            raise DriftError(_missing(error, settings)) from None


class _NoSuchNameError(Exception):
    """SQLite knows no table or column of this name."""


def _missing(error: _NoSuchNameError, settings: Settings) -> str:
    return f"{error}. Compare the tables with the job file: {luigi_command(settings, 'SchemaVerify')}."


def _ask(
    cursor: Any, settings: Settings, binding: AttestationBinding, fact_ids: Sequence[str]
) -> dict[str, Provenance]:
    sql, values = AttestationSql(binding).provenance.sql, {"fact_ids": json.dumps(fact_ids)}
    try:
        plan = cursor.execute(plan_of(sql), values).fetchall()
    except Exception as error:
        if str(error).startswith(_NO_SUCH):
            raise _NoSuchNameError(str(error)) from None
        raise
    names = {"m": binding.metadata.table, "l": binding.log.table}
    if problems := plan_problems([_plan_line(row[3]) for row in plan], names, small=("ids",)):
        raise DriftError(
            f"the query would {problems[0]} for every answer. An index is missing, which is made by "
            f"{luigi_command(settings, 'ApplySchema')}."
        )
    return decode_provenance(cursor.execute(sql, values).fetchall())


def _plan_line(detail: Any) -> str:
    """A line of a plan: as bytes where the application has its texts come so, and as before 3.36 in an old library."""
    line = detail.decode() if isinstance(detail, bytes) else str(detail)
    return _BEFORE_3_36.sub(r"\1 \2", line)


@contextmanager
def _cursor(connection: Any) -> Iterator[Any]:
    """A cursor of which rows come as plain tuples, whatever the application has its own rows made into."""
    cursor = connection.cursor()
    try:
        if hasattr(cursor, "row_factory"):  # the standard library's
            cursor.row_factory = None
        else:  # apsw's
            cursor.row_trace = lambda _, row: row
        yield cursor
    finally:
        cursor.close()


def _binding(settings: Settings, *, signed_at: bool = True) -> AttestationBinding:
    """The names of the job file, believed as they are: the query's plan tells whether they are there."""
    m, log = settings.tables.metadata, settings.tables.attestation_log
    metadata = MetadataBinding(
        m.name, m.fact_id, m.source_doc, m.extracted_at, m.verified_by, m.confidence_lower, m.confidence_upper,
        m.ed25519_sig, None, None, None,
    )  # fmt: skip
    return AttestationBinding(
        metadata,
        LogBinding(
            log.name, log.attestation_id, log.fact_id, log.attester, log.signed_at if signed_at else None,
            log.signature_hex,
        ),
        None,
    )  # fmt: skip
