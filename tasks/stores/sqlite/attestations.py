"""The SQLite reader of metadata and log: it cannot write, and needs nothing but these two tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import apsw

from tasks.contract.binding import AttestationBinding
from tasks.contract.catalogue import Catalogue, fingerprint
from tasks.contract.resolving import resolve_attestations
from tasks.core.errors import SealError
from tasks.core.fact_keys import Key, decoded, decoded_pairs
from tasks.job.settings import Settings
from tasks.stores.protocols.attestations import Attestation, Provenance, RowsRead
from tasks.stores.protocols.sealed_log import FIRST_ID, TileHead, break_in, unpacked_ids
from tasks.stores.sqlite.catalogue import read_catalogue
from tasks.stores.sqlite.compiling import LargeTables, compile_statements
from tasks.stores.sqlite.failures import translated
from tasks.stores.sqlite.guard import Guard
from tasks.stores.sqlite.key_parameters import bound, decode_row
from tasks.stores.sqlite.log_tiles import tile_head
from tasks.stores.sqlite.opening import connected
from tasks.stores.sqlite.refusing import configured_names, drift_error, refuse_unusable
from tasks.stores.sqlite.sql.attestations import attestation_statements
from tasks.stores.sqlite.sql.spelling import Statement
from tasks.stores.sqlite.unregistered import told_by_object


@contextmanager
def open_attestations(settings: Settings) -> Iterator[SqliteAttestations]:
    """A connection that can only read, with every statement compiled, closed when the block ends.

    Raises DriftError if metadata or log do not honour the contract, DatabaseError if the file cannot be used.
    """
    path = settings.place.path
    with connected(settings, write=False) as connection:
        with translated(path, "its schema was verified", lock_timeout=settings.pacing.lock_timeout_seconds):
            connection.authorizer = guard = Guard()
            refuse_unusable(connection, settings)
            catalogue = read_catalogue(connection, configured_names(settings))
            binding = resolve_attestations(settings, catalogue)
            if isinstance(binding, list):
                raise drift_error(binding)
            statements = attestation_statements(binding)
            tables = LargeTables(_aliases(binding), lambda _: binding.metadata.table)
            _, drift = compile_statements(connection, statements, guard, tables)
            if drift := told_by_object(drift, catalogue):
                raise drift_error(drift)
        yield SqliteAttestations(connection, settings, binding, catalogue, statements)


def _aliases(binding: AttestationBinding) -> dict[str, str]:
    return {"m": binding.metadata.table, **dict.fromkeys(("l", "x", "e"), binding.log.table)}


class SqliteAttestations:
    """One verified connection. See stores.protocols.attestations.AttestationReader for what each method promises."""

    def __init__(
        self,
        connection: apsw.Connection,
        settings: Settings,
        binding: AttestationBinding,
        catalogue: Catalogue,
        statements: Sequence[Statement],
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._binding = binding
        self._catalogue = catalogue
        self._sql = {statement.name: statement.sql for statement in statements}

    @property
    def fingerprint(self) -> str:
        return fingerprint(self._catalogue, self._binding.tables)

    @property
    def binding_digest(self) -> str:
        return self._binding.digest

    def _run(self, name: str, **parameters: Any) -> list[Any]:
        timeout = self._settings.pacing.lock_timeout_seconds
        with translated(self._settings.place.path, "it was read", lock_timeout=timeout):
            return self._connection.execute(self._sql[name], parameters).fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        self._run("begin_read")
        try:
            yield
        finally:
            self._run("commit")

    # -- planning ------------------------------------------------------------------------------------

    def count_rows(self) -> int:
        return int(self._run("count_rows")[0][0])

    def count_null_keys(self) -> int:
        return int(self._run("count_null_keys")[0][0])

    def key_after(self, after: Key, *, rows: int) -> Key:
        if after is None:
            found = self._run("key_after_start", skip=rows - 1)
        else:
            found = self._run("key_after", skip=rows - 1, **bound("after", after))
        return decoded(*found[0]) if found else None

    def last_key(self) -> Key:
        found = self._run("last_key")
        return decoded(*found[0]) if found else None

    # -- reading -------------------------------------------------------------------------------------

    def read_rows(self, *, after: Key, through: Key, limit: int) -> RowsRead:
        name = "read_rows_first" if after is None else "read_rows"
        bounds = {**bound("through", through), **(bound("after", after) if after is not None else {})}
        try:
            rows = self._run(name, limit=limit, **bounds)
        except UnicodeDecodeError:
            rows = [decode_row(row) for row in self._run(f"{name}_raw", limit=limit, **bounds)]
        exhausted = len(rows) < limit
        return RowsRead(rows, through if exhausted else rows[-1][0], exhausted)

    def read_row(self, fact_id: str) -> tuple[Any, ...] | None:
        rows = self._run("read_row", fact_id=fact_id)
        return decode_row(rows[0]) if rows else None

    def logged_before(self, fact_id: str, signature_hex: str) -> int | None:
        rows = self._run("logged_before", fact_id=fact_id, signature_hex=signature_hex)
        return rows[0][0] if rows else None

    # -- leaves --------------------------------------------------------------------------------------

    def first_id_of_leaf(self, leaf: int) -> int | None:
        heads = self._layout()
        for head in heads:
            if head.first_leaf <= leaf < head.end:
                packed = self._run("tile_ids", first_leaf=head.first_leaf)[0][0]
                return unpacked_ids(head, packed)[leaf - head.first_leaf]
        size, last_sealed = (heads[-1].end, heads[-1].last_id) if heads else (0, FIRST_ID)
        rows = self._run("unsealed_id", last_sealed=last_sealed, skip=leaf - size)
        return int(rows[0][0]) if rows else None

    def _layout(self) -> list[TileHead]:
        """The tiles of the sealed log, none if it never was."""
        heads = [tile_head(row) for row in self._run("read_layout")] if self._binding.tile is not None else []
        broken = break_in(heads)
        if broken:
            raise SealError(f"at leaf {broken[0]}: {broken[1]}", where="tiles of the sealed log", hint="Audit the log")
        return heads

    # -- explaining ----------------------------------------------------------------------------------

    def chain(self, fact_id: str) -> list[Attestation]:
        return [Attestation._make(decoded_pairs(row)) for row in self._run("chain", fact_id=fact_id)]

    def provenance(self, fact_ids: Sequence[str]) -> dict[str, Provenance]:
        return decode_provenance(self._run("provenance", fact_ids=json.dumps(fact_ids)))


def decode_provenance(rows: Sequence[Sequence[Any]]) -> dict[str, Provenance]:
    """The rows of the statement `provenance`, by fact id."""
    found = (Provenance._make((*decoded_pairs(row[:14]), row[14], *decoded_pairs(row[15:]))) for row in rows)
    return {one.fact_id: one for one in found}
