"""Every statement that verification and explanation execute on SQLite, built from a binding and nothing else.

They only read. A metadata row is joined with the latest log row of its fact: that with the greatest attestation id.
Both are looked up in the order of fact_id, so that neighbours in one index are neighbours in the other.
"""

from __future__ import annotations

from tasks.contract.binding import AttestationBinding
from tasks.stores.sqlite.sql.sealed_log import layout_of
from tasks.stores.sqlite.sql.signature_column import PLACEHOLDER_BLOB, is_placeholder
from tasks.stores.sqlite.sql.spelling import Statement, key_value, quoted, raw_value


def attestation_statements(binding: AttestationBinding) -> tuple[Statement, ...]:
    """All statements of an attestation reader."""
    sql = AttestationSql(binding)
    return (*_TRANSACTION, *sql.planning(), *sql.reading(), *sql.leaves(), *sql.explaining())


_TRANSACTION = (
    Statement("begin_read", "BEGIN", "batch"),
    Statement("commit", "COMMIT", "batch"),
)


class AttestationSql:
    """The expressions that several statements share, quoted once. m is the metadata, l a row of the log."""

    def __init__(self, binding: AttestationBinding) -> None:
        self.b = binding
        self.metadata, self.log = quoted(binding.metadata.table), quoted(binding.log.table)
        self.fact_id = f"m.{quoted(binding.metadata.fact_id)}"
        self.signature = f"m.{quoted(binding.metadata.ed25519_sig)}"
        self.after, self.through = (key_value(name, odd_keys=True) for name in ("after", "through"))

    def of_log(self, column: str, alias: str = "l") -> str:
        return f"{alias}.{quoted(column)}"

    @property
    def fields(self) -> list[str]:
        """The six fields that are signed, and the signature."""
        m = self.b.metadata
        names = (m.fact_id, m.source_doc, m.extracted_at, m.verified_by, m.confidence_lower, m.confidence_upper)
        return [*(f"m.{quoted(name)}" for name in names), self.signature]

    @property
    def attested(self) -> list[str]:
        """The columns of a MetadataRow but the last."""
        log = self.b.log
        return [*self.fields, self.of_log(log.attestation_id), self.of_log(log.signature_hex)]

    @property
    def ever_signed(self) -> str:
        """For a placeholder: does the log hold anything but placeholders (128 zeros) for the fact?"""
        log = self.b.log
        return (
            f"CASE WHEN {is_placeholder(self.signature)} THEN EXISTS (SELECT 1 FROM {self.log} AS e WHERE "
            f"{self.of_log(log.fact_id, 'e')} = {self.fact_id} "
            f"AND {self.of_log(log.signature_hex, 'e')} IS NOT hex({PLACEHOLDER_BLOB})) END"
        )

    @property
    def latest_id(self) -> str:
        """The id of the latest log row of the fact."""
        log = self.b.log
        return (
            f"(SELECT max({self.of_log(log.attestation_id, 'x')}) FROM {self.log} AS x "
            f"WHERE {self.of_log(log.fact_id, 'x')} = {self.fact_id})"
        )

    @property
    def joined(self) -> str:
        """Metadata with the latest log row of the fact, where there is one."""
        return (
            f"{self.metadata} AS m LEFT JOIN {self.log} AS l "
            f"ON {self.of_log(self.b.log.attestation_id)} = {self.latest_id}"
        )

    def in_range(self, *, first: bool) -> str:
        """The rows of a key range; `first` has no lower bound, and leaves out what has no key."""
        beyond = "" if first else f"{self.fact_id} > {self.after} AND "
        return f"{beyond}{self.fact_id} <= {self.through}"

    # -- planning ------------------------------------------------------------------------------------

    def planning(self) -> tuple[Statement, ...]:
        key = raw_value(self.fact_id)
        order = f"ORDER BY {self.fact_id}"
        return (
            Statement("count_rows", f"SELECT count(*) FROM {self.metadata} NOT INDEXED", "once"),
            Statement(
                "count_null_keys", f"SELECT count(*) FROM {self.metadata} AS m WHERE {self.fact_id} IS NULL", "once"
            ),
            Statement(
                "key_after_start",
                f"SELECT {key} FROM {self.metadata} AS m WHERE {self.fact_id} IS NOT NULL {order} LIMIT 1 OFFSET :skip",
                "once",
            ),
            Statement(
                "key_after",
                f"SELECT {key} FROM {self.metadata} AS m WHERE {self.fact_id} > {self.after} {order} "
                "LIMIT 1 OFFSET :skip", "once",
            ),
            Statement("last_key", f"SELECT {key} FROM {self.metadata} AS m {order} DESC LIMIT 1", "once"),
        )  # fmt: skip

    # -- reading -------------------------------------------------------------------------------------

    def reading(self) -> tuple[Statement, ...]:
        plain = ", ".join([*self.attested, self.ever_signed])
        raw = ", ".join([*map(raw_value, self.attested), self.ever_signed])
        log = self.b.log

        def batch(columns: str, *, first: bool) -> str:
            return (
                f"SELECT {columns} FROM {self.joined} WHERE {self.in_range(first=first)} "
                f"ORDER BY {self.fact_id} LIMIT :limit"
            )

        return (
            Statement("read_rows_first", batch(plain, first=True), "batch"),
            Statement("read_rows", batch(plain, first=False), "batch"),
            Statement("read_rows_first_raw", batch(raw, first=True), "batch"),
            Statement("read_rows_raw", batch(raw, first=False), "batch"),
            Statement("read_row", f"SELECT {raw} FROM {self.joined} WHERE {self.fact_id} = :fact_id", "batch"),
            Statement(
                "logged_before",
                f"SELECT {self.of_log(log.attestation_id)} FROM {self.log} AS l WHERE {self.of_log(log.fact_id)} = "
                f":fact_id AND {self.of_log(log.signature_hex)} = :signature_hex LIMIT 1", "batch",
            ),
        )  # fmt: skip

    # -- leaves --------------------------------------------------------------------------------------

    def leaves(self) -> tuple[Statement, ...]:
        attestation_id = self.of_log(self.b.log.attestation_id)
        unsealed = Statement(
            "unsealed_id",
            f"SELECT {attestation_id} FROM {self.log} AS l WHERE {attestation_id} > :last_sealed "
            f"ORDER BY {attestation_id} LIMIT 1 OFFSET :skip",
            "once",
        )
        if self.b.tile is None:
            return (unsealed,)
        tile = quoted(self.b.tile)
        return (
            unsealed,
            Statement("read_layout", layout_of(tile), "once"),
            Statement(
                "tile_ids",
                f"SELECT CAST(attestation_ids AS BLOB) FROM {tile} WHERE first_leaf = :first_leaf",
                "once",
            ),
        )

    # -- explaining ----------------------------------------------------------------------------------

    def explaining(self) -> tuple[Statement, ...]:
        log = self.b.log
        columns = [
            self.of_log(name) if name else "NULL"
            for name in (log.attestation_id, log.signed_at, log.attester, log.signature_hex, log.notes)
        ]
        return (
            Statement(
                "chain",
                f"SELECT {', '.join(map(raw_value, columns))} {self._of_fact} = :fact_id "
                f"ORDER BY {self.of_log(log.attestation_id)}", "once",
            ),
            self.provenance,
        )  # fmt: skip

    @property
    def _of_fact(self) -> str:
        return f"FROM {self.log} AS l WHERE {self.of_log(self.b.log.fact_id)}"

    @property
    def provenance(self) -> Statement:
        """What an API attaches, for any number of facts. The latest attestation is that of the highest id."""
        log = self.b.log
        count = f"(SELECT count(*) {self._of_fact} = {self.fact_id})"
        last = f"(SELECT max({self.of_log(log.attestation_id)}) {self._of_fact} = {self.fact_id})"
        latest = (
            f"(SELECT {self.of_log(log.signed_at, 'x')} FROM {self.log} AS x "
            f"WHERE {self.of_log(log.attestation_id, 'x')} = {last})"
            if log.signed_at
            else "NULL"
        )
        values = ", ".join([*map(raw_value, self.fields), count, raw_value(latest)])
        return Statement(
            "provenance",
            f"SELECT {values} FROM json_each(:fact_ids) AS ids CROSS JOIN {self.metadata} AS m "
            f"ON {self.fact_id} = ids.value", "once",
        )  # fmt: skip
