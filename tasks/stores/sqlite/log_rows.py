"""Rows of the attestation log in the order of their ids, as leaves are made of them."""

from __future__ import annotations

from tasks.attestation.log.leaves import AttestedRow, LatestRow, LogRow
from tasks.attestation.log.rotation_record import RotationRow
from tasks.attestation.signature_column import PLACEHOLDER_HEX
from tasks.stores.sqlite.key_parameters import decode_pairs
from tasks.stores.sqlite.runner import StatementRunner


class LogRows(StatementRunner):
    """Reads the log, and appends what rotates a key. See the protocol for what each method promises.

    A read is tried plainly first: only where a text is not UTF-8 is it read again in the form that no text can break.
    """

    def last_attestation_id(self) -> int | None:
        found = self._run("last_attestation_id")[0][0]
        return None if found is None else int(found)

    def count_all_rows(self) -> int:
        """How many rows the table itself has, whatever an index says."""
        return int(self._run("count_all_rows")[0][0])

    def count_rows(self, first: int, last: int) -> int:
        """How many rows have an id from `first` to `last`."""
        return int(self._run("count_rows", first=first, last=last)[0][0])

    def end_of_rows(self, first: int, last: int, rows: int) -> int | None:
        """The id of the `rows`-th row from `first` on; None if there are fewer up to `last`."""
        found = self._run("end_of_rows", first=first, last=last, skip=rows - 1)
        return int(found[0][0]) if found else None

    def read_attested(self, first: int, last: int) -> list[AttestedRow]:
        """The rows with ids from `first` to `last`, in order, each with its fact's metadata. Plain tuples."""
        bounds = {"first": first, "last": last, "placeholder": PLACEHOLDER_HEX}
        try:
            return self._run("read_attested", **bounds)
        except UnicodeDecodeError:
            rows = self._run("read_attested_raw", **bounds)
            return [AttestedRow._make([row[0], *decode_pairs(row[1:-1]), row[-1]]) for row in rows]

    def read_rows(self, first: int, last: int) -> list[LogRow]:
        """The rows with ids from `first` to `last`, in order. Plain tuples."""
        try:
            return self._run("read_rows", first=first, last=last)
        except UnicodeDecodeError:
            rows = self._run("read_rows_raw", first=first, last=last)
            return [LogRow(row[0], *decode_pairs(row[1:])) for row in rows]

    def read_log_row(self, attestation_id: int) -> LogRow | None:
        """One row, whatever is stored in it."""
        rows = self.read_rows(attestation_id, attestation_id)
        return LogRow(*rows[0]) if rows else None

    def read_latest(self, first: int, last: int) -> list[LatestRow]:
        """The rows from `first` to `last` that are the latest of their fact, with its metadata row. Plain tuples."""
        try:
            return self._run("read_latest", first=first, last=last)
        except UnicodeDecodeError:
            rows = self._run("read_latest_raw", first=first, last=last)
            return [LatestRow(row[0], *decode_pairs(row[1:])) for row in rows]

    def rotations(self) -> list[RotationRow]:
        """Rows that say they rotate a key, in the order of their ids."""
        return [RotationRow(row[0], *decode_pairs(row[1:])) for row in self._run("read_rotations")]

    def append_rotation(self, *, fact_id: str, attester: str, signature_hex: str, notes: str, now: str) -> int:
        """Append one row to the log, durably. Returns its attestation id."""
        with self._transaction("begin_write"):
            self.check_schema()
            self._run(
                "append_rotation", fact_id=fact_id, attester=attester, signature_hex=signature_hex, notes=notes, now=now
            )
            return self._connection.last_insert_rowid()
