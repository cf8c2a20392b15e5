"""What the log says of facts: the metadata against the log, and its rows about one fact against each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasks.attestation.log.leaves import PayloadRow
from tasks.core.fact_keys import decoded
from tasks.stores.sqlite.key_parameters import decode_pairs
from tasks.stores.sqlite.runner import StatementRunner


class LogEvidence(StatementRunner):
    """Looks up facts by the log. See the protocol for what each method promises."""

    def read_metadata(self, fact_id: str) -> tuple[object, PayloadRow] | None:
        """The signature column of a fact and the columns of its payload."""
        rows = self._run("read_metadata_raw", fact_id=fact_id)
        return (decoded(*rows[0][:2]), PayloadRow(*decode_pairs(rows[0][2:]))) if rows else None

    def unlogged(self) -> Iterator[object]:
        """The facts that have a metadata row and no row in the log."""
        for is_text, value in self._stream("read_unlogged"):
            yield decoded(is_text, value)

    def latest_of_fact(self, fact_id: str) -> int | None:
        found = self._run("latest_of_fact", fact_id=fact_id)[0][0]
        return None if found is None else int(found)

    def has_older(self, fact_id: str, signature_hex: str, *, before: int) -> bool:
        """Whether an earlier row of the log holds this signature for this fact."""
        rows = self._run("older_with_signature", fact_id=fact_id, signature_hex=signature_hex, before=before)
        return rows[0][0] is not None

    def read_successions(self, first: int, last: int) -> list[Any]:
        """The rows from `first` to `last` that are not the latest of their fact, each with the next one about it.

        Tuples of (its id, the next one's id, fact id, notes), of any storage class.
        """
        rows = self._run("read_successions", first=first, last=last)
        return [(*row[:2], *decode_pairs(row[2:])) for row in rows]

    def first_batch_attestation(self) -> int | None:
        """The least attestation id in the ledger of batches, None if no batch has logged anything."""
        found: int | None = self._run("first_batch_attestation")[0][0]
        return found

    def rows_that_supersede(self, *, before: int | None) -> Iterator[tuple[int, object]]:
        """(id, notes) of rows whose notes look as if they named an attestation that they supersede, in order."""
        for attestation_id, is_text, notes in self._stream("rows_that_supersede", before=before):
            yield attestation_id, decoded(is_text, notes)
