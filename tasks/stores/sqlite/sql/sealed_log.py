"""Every statement over the sealed log on SQLite, built from the binding and nothing else.

Statements that read rows come twice. `read_x` gives the columns plainly; `read_x_raw` gives (is it text, value with
text as its bytes) for each, which no stored value can break, and is read where a text is not UTF-8.
"""

from __future__ import annotations

from tasks.attestation.log.rotation_record import BEHIND_PREFIX, PREFIX
from tasks.contract.binding import SidecarBinding
from tasks.stores.sqlite.sql.connection import TRANSACTION
from tasks.stores.sqlite.sql.spelling import Statement, quoted, raw_value

_TILE = "first_leaf, leaves, first_attestation_id, last_attestation_id, subtree_roots"
_TILE_BLOBS = ("attestation_ids", "leaf_marks", "payload_digests")
_CHECKPOINT = "tree_size, root, frontier, last_attestation_id, note"


def _bytes(column: str) -> str:
    """A column that holds bytes, whatever became of it: no stored value can break the reader."""
    return f"CAST({column} AS BLOB)"


def _integer(column: str) -> str:
    """A column that holds an integer, else NULL."""
    return f"CASE typeof({column}) WHEN 'integer' THEN {column} END"


_TILE_AS_BYTES = ", ".join(
    [
        "first_leaf", *map(_integer, ("leaves", "first_attestation_id", "last_attestation_id")),
        _bytes("subtree_roots"),
    ]
)  # fmt: skip
_CHECKPOINT_AS_BYTES = ", ".join(
    ["tree_size", _bytes("root"), _bytes("frontier"), _integer("last_attestation_id"), _bytes("note")]
)


def layout_of(tile: str) -> str:
    """Every tile without its large columns, in leaf order, given the quoted name of their table."""
    sizes = ", ".join(f"octet_length({column})" for column in _TILE_BLOBS)  # without reading them
    return f"SELECT {_TILE_AS_BYTES}, {sizes} FROM {tile} ORDER BY first_leaf"


def build_log_statements(binding: SidecarBinding) -> tuple[Statement, ...]:
    """All statements that seal, audit, prove or rotate."""
    sql = _Builder(binding)
    return (*TRANSACTION, *sql.walking(), *sql.leaves(), *sql.sealing(), *sql.auditing(), *sql.appending())


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
        self.range = f"{self.id} >= :first AND {self.id} <= :last"

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
    def is_latest(self) -> str:
        log = self.b.log
        return (
            f"NOT EXISTS (SELECT 1 FROM {self.log} AS n WHERE n.{quoted(log.fact_id)} = {self.fact_id} "
            f"AND n.{quoted(log.attestation_id)} > {self.id})"
        )

    @property
    def attested(self) -> str:
        return f"{self.log} AS l LEFT JOIN {self.metadata} AS m ON {self.of_metadata} = {self.fact_id}"

    # -- statements ------------------------------------------------------------------------------

    def walking(self) -> tuple[Statement, ...]:
        return (
            Statement("last_attestation_id", f"SELECT max({self.id}) FROM {self.log} AS l", "batch"),
            Statement("count_all_rows", f"SELECT count(*) FROM {self.log} NOT INDEXED", "once"),
            Statement("count_rows", f"SELECT count(*) FROM {self.log} AS l WHERE {self.range}", "batch"),
            Statement(
                "end_of_rows",
                f"SELECT {self.id} FROM {self.log} AS l WHERE {self.range} ORDER BY {self.id} LIMIT 1 OFFSET :skip",
                "batch",
            ),
        )

    def leaves(self) -> tuple[Statement, ...]:
        attested = [*self.log_columns, *self.metadata_columns, self.blob]
        latest = f"CASE WHEN {self.signature} = :placeholder THEN {self.is_latest} END"
        within = f"WHERE {self.range} ORDER BY {self.id}"

        def both(name: str, columns: list[str], more: str, source: str) -> tuple[Statement, Statement]:
            plain, raw = ", ".join(columns), ", ".join(map(raw_value, columns))
            return (
                Statement(name, f"SELECT {self.id}, {plain}{more} FROM {source} {within}", "batch"),
                Statement(f"{name}_raw", f"SELECT {self.id}, {raw}{more} FROM {source} {within}", "batch"),
            )

        return (
            *both("read_attested", attested, f", {latest}", self.attested),
            *both("read_rows", self.log_columns, "", f"{self.log} AS l"),
        )

    def sealing(self) -> tuple[Statement, ...]:
        return (
            Statement(
                "last_checkpoint",
                f"SELECT {_CHECKPOINT_AS_BYTES} FROM {self.checkpoint} ORDER BY tree_size DESC LIMIT 1", "once",
            ),
            Statement(
                "read_checkpoints",
                f"SELECT {_CHECKPOINT_AS_BYTES} FROM {self.checkpoint} ORDER BY tree_size", "once",
            ),
            Statement(
                "leaves_of_run",
                "SELECT coalesce(sum(c.tree_size - coalesce((SELECT max(p.tree_size) FROM "
                f"{self.checkpoint} AS p WHERE p.tree_size < c.tree_size), 0)), 0) FROM {self.checkpoint} AS c "
                "WHERE c.run_id = :run_id", "once",
            ),
            Statement(
                "last_attestation_of_run",
                f"SELECT max({_integer('last_attestation_id')}) FROM {quoted(self.b.ledger.batch)} "
                "WHERE run_id = :run_id", "once",
            ),
            Statement(
                "append_tile",
                f"INSERT INTO {self.tile} ({_TILE}, attestation_ids, leaf_marks, payload_digests) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)", "batch", writes=True, positional=8,
            ),
            Statement(
                "append_checkpoint",
                f"INSERT INTO {self.checkpoint} ({_CHECKPOINT}, run_id, created_at) VALUES (:tree_size, :root, "
                ":frontier, :last_attestation_id, :note, :run_id, :now)", "batch", writes=True,
            ),
        )  # fmt: skip

    def auditing(self) -> tuple[Statement, ...]:
        rotation = ", ".join(map(raw_value, (self.fact_id, self.signature, self.log_column("notes"))))
        metadata_raw = ", ".join(map(raw_value, self.metadata_columns))
        return (
            Statement("read_layout", layout_of(self.tile), "once"),
            Statement(
                "read_tile",
                f"SELECT {_TILE_AS_BYTES}, {', '.join(map(_bytes, _TILE_BLOBS))} FROM {self.tile} "
                "WHERE first_leaf = :first_leaf", "batch",
            ),
            *self._latest(),
            *self._successions(),
            Statement(
                "read_metadata_raw",
                f"SELECT {raw_value(self.blob)}, {metadata_raw} FROM {self.metadata} AS m "
                f"WHERE {self.of_metadata} = :fact_id", "batch",
            ),
            Statement(
                "read_unlogged",
                f"SELECT {raw_value(self.of_metadata)} FROM {self.metadata} AS m WHERE NOT EXISTS (SELECT 1 FROM "
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
                "read_rotations",
                f"SELECT {self.id}, {rotation} FROM {self.log} AS l WHERE {self.fact_id} >= '{PREFIX}' "
                f"AND {self.fact_id} < '{BEHIND_PREFIX}' ORDER BY {self.id}", "once",
            ),
        )  # fmt: skip

    def _latest(self) -> tuple[Statement, Statement]:
        columns = [self.fact_id, self.signature, self.blob, *self.metadata_columns]
        source = f"{self.attested} WHERE {self.range} AND {self.is_latest} ORDER BY {self.id}"
        plain, raw = ", ".join(columns), ", ".join(map(raw_value, columns))
        return (
            Statement("read_latest", f"SELECT {self.id}, {plain} FROM {source}", "batch"),
            Statement("read_latest_raw", f"SELECT {self.id}, {raw} FROM {source}", "batch"),
        )

    def _successions(self) -> tuple[Statement, ...]:
        """Rows of one fact that follow each other, and since when a row says which one it supersedes."""
        log, batch = self.b.log, quoted(self.b.ledger.batch)
        n_id, n_fact, n_notes = (
            f"n.{quoted(name)}" if name else "NULL" for name in (log.attestation_id, log.fact_id, log.notes)
        )
        next_id = (
            f"(SELECT min(x.{quoted(log.attestation_id)}) FROM {self.log} AS x WHERE x.{quoted(log.fact_id)} = "
            f"{self.fact_id} AND x.{quoted(log.attestation_id)} > {self.id})"
        )
        notes = self.log_column("notes")
        is_note = f"typeof({notes}) = 'text' AND {notes} GLOB '{{*\"supersedes\":*'"
        return (
            Statement(
                "read_successions",
                f"SELECT {self.id}, {n_id}, {raw_value(n_fact)}, {raw_value(n_notes)} FROM {self.log} AS l "
                f"CROSS JOIN {self.log} AS n ON {n_id} = {next_id} WHERE {self.range} ORDER BY {self.id}", "batch",
            ),
            Statement("first_batch_attestation", f"SELECT min(first_attestation_id) FROM {batch}", "once"),
            Statement(
                "rows_that_supersede",
                f"SELECT {self.id}, {raw_value(notes)} FROM {self.log} AS l "
                f"WHERE (:before IS NULL OR {self.id} < :before) AND {is_note} ORDER BY {self.id}", "once",
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
