"""Every statement over the sealed log on SQLite, built from the binding and nothing else.

A row of the log comes in two forms:

    read_*      two texts per row, `before` and `after`: the canonical leaf around its payload digest, put together by
                SQLite. NULL where a column holds another storage class than text or NULL.
    read_*_raw  (is it text, the value with text as bytes) per column, from which any row can be spelt.

The first is several times faster; the second is read where a row of a range is odd, or not UTF-8. That both
give the same leaf is property-tested (tests/attestation/test_leaves.py).
"""

from __future__ import annotations

from tasks.engine.contract import SidecarBinding
from tasks.stores.sqlite_sql import CATALOGUE_STATEMENTS, Statement, quoted

__all__ = ["CATALOGUE_STATEMENTS", "build_log_statements"]

_TILE = "first_leaf, leaves, first_attestation_id, last_attestation_id, subtree_roots"
_CHECKPOINT = "tree_size, root, frontier, last_attestation_id, note"


def build_log_statements(binding: SidecarBinding) -> tuple[Statement, ...]:
    """All statements that seal, audit, prove or rotate."""
    sql = _Builder(binding)
    return (*_TRANSACTION, *sql.walking(), *sql.leaves(), *sql.sealing(), *sql.auditing(), *sql.appending())


_TRANSACTION = (
    Statement("schema_version", "PRAGMA schema_version", "batch"),
    Statement("begin_read", "BEGIN", "batch"),
    Statement("begin_write", "BEGIN IMMEDIATE", "batch", writes=True),
    Statement("commit", "COMMIT", "batch"),
    Statement("rollback", "ROLLBACK", "batch"),
)


def _raw(expression: str) -> str:
    """(storage class, value with text as its bytes): no text can break the reader."""
    return (
        f"typeof({expression}), "
        f"CASE typeof({expression}) WHEN 'text' THEN CAST({expression} AS BLOB) ELSE {expression} END"
    )


def _are_text_or_null(expressions: list[str]) -> str:
    return " AND ".join(f"typeof({one}) IN ('text', 'null')" for one in expressions)


class _Builder:
    """The expressions that several statements share, quoted once."""

    def __init__(self, binding: SidecarBinding) -> None:
        log, m = binding.log, binding.metadata
        self.b = binding
        self.log, self.metadata = quoted(log.table), quoted(m.table)
        self.tile, self.checkpoint = quoted(binding.ledger.tile), quoted(binding.ledger.checkpoint)
        self.id = f"l.{quoted(log.attestation_id)}"
        self.fact_id = f"l.{quoted(log.fact_id)}"
        self.signature = f"l.{quoted(log.signature_hex)}"
        self.of_metadata = f"m.{quoted(m.fact_id)}"
        self.blob = f"m.{quoted(m.ed25519_sig)}"
        self.range = f"{self.id} > :after AND {self.id} <= :through"

    # -- columns ---------------------------------------------------------------------------------

    def log_column(self, role: str) -> str:
        name = getattr(self.b.log, role)
        return f"l.{quoted(name)}" if name else "NULL"

    @property
    def log_columns(self) -> list[str]:
        return [self.log_column(role) for role in ("attester", "fact_id", "notes", "signature_hex", "signed_at")]

    @property
    def metadata_columns(self) -> list[str]:
        roles = ("confidence_lower", "confidence_upper", "extracted_at", "fact_id", "source_doc", "verified_by")
        return [f"m.{quoted(getattr(self.b.metadata, role))}" for role in roles]

    @property
    def leaf_parts(self) -> str:
        """`before` and `after`: what stands in the leaf around the value of payload_sha256."""
        attester, fact_id, notes, signature_hex, signed_at = self.log_columns
        well_typed = _are_text_or_null(self.log_columns)
        before = (
            f"',\"attester\":' || json_quote({attester}) || ',\"fact_id\":' || json_quote({fact_id}) || "
            f"',\"notes\":' || json_quote({notes}) || ',\"payload_sha256\":'"
        )
        after = (
            f"',\"signature_hex\":' || json_quote({signature_hex}) || "
            f"',\"signed_at\":' || json_quote({signed_at}) || '}}'"
        )
        return f"CASE WHEN {well_typed} THEN {before} END, {after}"

    @property
    def payload_parts(self) -> str:
        """The bounds, and the payload behind them; NULL where the row is not of the types of a payload."""
        lower, upper, extracted_at, fact_id, source_doc, verified_by = self.metadata_columns
        well_typed = (
            f"typeof({lower}) IN ('real', 'null') AND typeof({upper}) IN ('real', 'null') AND "
            f"typeof({extracted_at}) = 'text' AND typeof({fact_id}) = 'text' AND "
            + _are_text_or_null([source_doc, verified_by])
        )
        tail = (
            f"',\"extracted_at\":' || json_quote({extracted_at}) || ',\"fact_id\":' || json_quote({fact_id}) || "
            f"',\"source_doc\":' || json_quote({source_doc}) || "
            f"',\"verified_by\":' || json_quote({verified_by}) || '}}'"
        )
        return f"{lower}, {upper}, CASE WHEN {well_typed} THEN {tail} END"

    @property
    def signature_in_metadata(self) -> str:
        """The raw signature of a metadata row in lower-case hex: of 64 bytes all, of 80 the middle."""
        return f"lower(hex(substr({self.blob}, CASE length({self.blob}) WHEN 64 THEN 1 ELSE 9 END, 64)))"

    @property
    def is_latest(self) -> str:
        log = self.b.log
        return (
            f"NOT EXISTS (SELECT 1 FROM {self.log} AS n WHERE n.{quoted(log.fact_id)} = {self.fact_id} "
            f"AND n.{quoted(log.attestation_id)} > {self.id})"
        )

    @property
    def attested(self) -> str:
        """Log rows with the metadata row they stand for: same fact, same signature, a placeholder only if latest."""
        return (
            f"{self.log} AS l LEFT JOIN {self.metadata} AS m ON {self.of_metadata} = {self.fact_id} "
            f"AND typeof({self.blob}) = 'blob' AND {self.signature_in_metadata} = {self.signature} "
            f"AND ({self.signature} <> :placeholder OR {self.is_latest})"
        )

    # -- statements ------------------------------------------------------------------------------

    def walking(self) -> tuple[Statement, ...]:
        return (
            Statement("last_attestation_id", f"SELECT max({self.id}) FROM {self.log} AS l", "batch"),
            Statement("count_rows", f"SELECT count(*) FROM {self.log} AS l WHERE {self.range}", "batch"),
            Statement(
                "end_of_rows",
                f"SELECT {self.id} FROM {self.log} AS l WHERE {self.range} ORDER BY {self.id} LIMIT 1 OFFSET :skip",
                "batch",
            ),
        )

    def leaves(self) -> tuple[Statement, ...]:
        log_raw, metadata_raw = (", ".join(map(_raw, c)) for c in (self.log_columns, self.metadata_columns))
        within = f"WHERE {self.range} ORDER BY {self.id}"
        return (
            Statement(
                "read_attested",
                f"SELECT {self.id}, {self.leaf_parts}, {self.payload_parts} FROM {self.attested} {within}", "batch",
            ),
            Statement(
                "read_attested_raw",
                f"SELECT {self.id}, {log_raw}, {metadata_raw} FROM {self.attested} {within}", "batch",
            ),
            Statement("read_rows", f"SELECT {self.id}, {self.leaf_parts} FROM {self.log} AS l {within}", "batch"),
            Statement("read_rows_raw", f"SELECT {self.id}, {log_raw} FROM {self.log} AS l {within}", "batch"),
        )  # fmt: skip

    def sealing(self) -> tuple[Statement, ...]:
        return (
            Statement(
                "last_checkpoint",
                f"SELECT {_CHECKPOINT} FROM {self.checkpoint} ORDER BY tree_size DESC LIMIT 1", "once",
            ),
            Statement("read_checkpoints", f"SELECT {_CHECKPOINT} FROM {self.checkpoint} ORDER BY tree_size", "once"),
            Statement(
                "append_tile",
                f"INSERT INTO {self.tile} ({_TILE}, attestation_ids, leaf_marks, payload_digests) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)", "batch", writes=True,
            ),
            Statement(
                "append_checkpoint",
                f"INSERT INTO {self.checkpoint} ({_CHECKPOINT}, run_id, created_at) VALUES (:tree_size, :root, "
                ":frontier, :last_attestation_id, :note, :run_id, :now)", "batch", writes=True,
            ),
        )  # fmt: skip

    def auditing(self) -> tuple[Statement, ...]:
        sizes = "length(attestation_ids), length(leaf_marks), length(payload_digests)"
        metadata_raw = ", ".join(map(_raw, self.metadata_columns))
        return (
            Statement("read_layout", f"SELECT {_TILE}, {sizes} FROM {self.tile} ORDER BY first_leaf", "once"),
            Statement(
                "read_tile",
                f"SELECT {_TILE}, attestation_ids, leaf_marks, payload_digests FROM {self.tile} "
                "WHERE first_leaf = :first_leaf", "batch",
            ),
            Statement(
                "read_latest",
                f"SELECT {self.id}, {_raw(self.fact_id)}, {_raw(self.signature)}, {self.of_metadata} IS NOT NULL, "
                f"{_raw(self.blob)}, {self.payload_parts} FROM {self.log} AS l LEFT JOIN {self.metadata} AS m ON "
                f"{self.of_metadata} = {self.fact_id} WHERE {self.range} AND {self.is_latest} ORDER BY {self.id}",
                "batch",
            ),
            Statement(
                "read_latest_raw",
                f"SELECT {self.id}, {_raw(self.fact_id)}, {_raw(self.signature)}, {self.of_metadata} IS NOT NULL, "
                f"{_raw(self.blob)}, {metadata_raw} FROM {self.log} AS l LEFT JOIN {self.metadata} AS m ON "
                f"{self.of_metadata} = {self.fact_id} WHERE {self.range} AND {self.is_latest} ORDER BY {self.id}",
                "batch",
            ),
            Statement(
                "read_metadata_raw",
                f"SELECT {_raw(self.blob)}, {metadata_raw} FROM {self.metadata} AS m "
                f"WHERE {self.of_metadata} = :fact_id", "batch",
            ),
            Statement(
                "read_unlogged",
                f"SELECT {_raw(self.of_metadata)} FROM {self.metadata} AS m WHERE NOT EXISTS (SELECT 1 FROM "
                f"{self.log} AS l WHERE {self.fact_id} = {self.of_metadata}) ORDER BY {self.of_metadata}", "once",
            ),
            Statement(
                "latest_of_fact",
                f"SELECT max({self.id}) FROM {self.log} AS l WHERE {self.fact_id} = :fact_id", "batch",
            ),
            Statement(
                "older_with_signature",
                f"SELECT max({self.id}) FROM {self.log} AS l WHERE {self.fact_id} = :fact_id "
                f"AND {self.signature} = :signature_hex AND {self.id} < :before", "batch",
            ),
            Statement(
                "tile_of_attestation",
                f"SELECT first_leaf FROM {self.tile} WHERE first_attestation_id <= :attestation_id "
                f"AND last_attestation_id >= :attestation_id ORDER BY first_leaf LIMIT 1", "once",
            ),
            Statement(
                "read_rotations",
                f"SELECT {self.id}, {', '.join(map(_raw, (self.fact_id, self.signature, self.log_column('notes'))))} "
                f"FROM {self.log} AS l WHERE {self.fact_id} >= 'key-rotation/' AND {self.fact_id} < 'key-rotation0' "
                f"ORDER BY {self.id}", "once",
            ),
        )  # fmt: skip

    def appending(self) -> tuple[Statement, ...]:
        log = self.b.log
        if not log.notes:
            return ()
        columns = {log.fact_id: ":fact_id", log.attester: ":attester", log.signature_hex: ":signature_hex"}
        columns[log.notes] = ":notes"
        if log.signed_at:
            columns[log.signed_at] = ":now"
        return (
            Statement(
                "append_rotation",
                f"INSERT INTO {self.log} ({', '.join(map(quoted, columns))}) VALUES ({', '.join(columns.values())})",
                "once", writes=True,
            ),
        )  # fmt: skip
