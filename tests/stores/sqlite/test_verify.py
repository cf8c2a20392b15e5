"""The gate on real databases: shapes that work end to end, and shapes that are refused with their mend."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from tasks.core.errors import DatabaseError, DriftError, ProvenanceError, SchemaChangedError
from tasks.runs.gate import is_verified, verify_schema
from tasks.stores.sqlite.apply import apply_schema, is_applied
from tasks.stores.sqlite.attestations import open_attestations
from tasks.stores.sqlite.opening import refuse_unsafe_engine
from tasks.stores.sqlite.sealed_log import open_log_session
from tasks.stores.sqlite.session import open_session
from tasks.stores.sqlite.sql.run import build_statements
from tasks.stores.sqlite.sql.spelling import STAGING

FACTS, METADATA, LOG = "am_entity_facts", "am_fact_metadata", "am_fact_attestation_log"


@pytest.fixture
def works(settings: Any, run: Any) -> Any:
    """`works(store)` runs the job dry and live; they must agree and leave nothing but rejects. Gives the report."""

    def check(store: Any, **sections: Any) -> dict[str, Any]:
        config = settings(store, small=True, **sections)
        run(config, dry_run=True)
        report: dict[str, Any] = run(config)
        assert report["dry_run"]["matches"] is True
        assert report["remaining"] == report["rows"]["rejected"]
        written = report["rows"]["inserted"] + report["rows"]["updated"]
        assert store.count(LOG) == written == report["signatures"]["placeholder"]
        return report

    return check


# -- the facts' key ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "declaration",
    ["id TEXT PRIMARY KEY", "id TEXT NOT NULL UNIQUE", "id INTEGER UNIQUE", "id INT PRIMARY KEY", "id PRIMARY KEY",
     "id BLOB PRIMARY KEY", "id NUMERIC UNIQUE", "id INTEGER PRIMARY KEY DESC", "id BIGINT UNIQUE", "id UUID UNIQUE"],
)  # fmt: skip
def test_any_unique_key_of_integers_or_text_works(store: Any, works: Any, declaration: str) -> None:
    made = store(lambda schema: schema.change_column(FACTS, "id", declaration))
    keys: list[Any] = [f"事実-{n}" for n in range(30)] if "TEXT" in declaration else [7, -7, 2**63 - 1, -(2**63), 0]
    made.add_facts({"id": key} for key in keys)
    assert works(made)["rows"]["inserted"] == len(keys)
    assert set(made.metadata()) == {str(key) for key in keys}


def test_a_unique_index_beside_the_table_makes_a_key_as_well(store: Any, works: Any) -> None:
    made = store(lambda schema: schema.add(FACTS, "uuid TEXT").then(f"CREATE UNIQUE INDEX u ON {FACTS} (uuid DESC)"))
    made.add_facts({"id": n, "uuid": f"u{n}"} for n in range(12))
    works(made, tables={"facts": {"key": "uuid"}})
    assert set(made.metadata()) == {f"u{n}" for n in range(12)}


@pytest.mark.parametrize("declaration", ["id TEXT PRIMARY KEY", "id INTEGER PRIMARY KEY"])
def test_facts_without_a_rowid_work(store: Any, works: Any, declaration: str) -> None:
    made = store(
        lambda schema: schema.change_column(FACTS, "id", declaration), lambda s: s.table_option(FACTS, "WITHOUT ROWID")
    )
    made.add_facts({"id": n} for n in range(12))
    assert works(made)["rows"]["inserted"] == 12


@pytest.mark.parametrize("table", [FACTS, "am_source", METADATA, LOG, "am_backfill_run", "am_backfill_reject"])
def test_strict_tables_work(store: Any, works: Any, table: str) -> None:
    made = store(lambda schema: schema.table_option(table, "STRICT"))
    made.add_source(1, "https://a.test/")
    made.add_facts([{"id": 1, "source_id": 1, "confidence": 0.5, "created_at": "no"}, {"id": 2, "source_id": 1}])
    assert works(made)["rows"]["inserted"] == 1


def test_metadata_without_a_rowid_works(store: Any, works: Any) -> None:
    made = store(lambda schema: schema.table_option(METADATA, "WITHOUT ROWID"))
    made.add_facts([{"id": n, "source_url": "https://a.test/"} for n in range(12)])
    made.add_metadata("3")
    assert works(made)["rows"] == {"eligible": 12, "inserted": 11, "updated": 1, "unchanged": 0, "rejected": 0}


def test_a_composite_primary_key_is_refused_by_name(store: Any, settings: Any, drift: Any) -> None:
    made = store(
        lambda schema: schema.change_column(FACTS, "id", "id INTEGER"),
        lambda schema: schema.add(FACTS, "PRIMARY KEY (entity_id, id)"),
    )
    message = drift(settings(made))
    assert f'{FACTS}: "id" is part of the composite primary key (entity_id, id), which is not supported' in message
    assert "tables.facts.key" in message


def test_a_key_that_is_not_unique_is_refused_and_a_unique_one_suggested(store: Any, settings: Any, drift: Any) -> None:
    message = drift(settings(store(), tables={"facts": {"key": "entity_id"}}))
    assert f'{FACTS}: "entity_id" is not unique by any primary key or unique index' in message
    assert "Unique here: id." in message
    message = drift(settings(store(lambda s: s.change_column(FACTS, "id", "id INTEGER"), name="other.db")))
    assert "It needs a unique index of its own." in message


@pytest.mark.parametrize(
    "index",
    ["(id) WHERE id > 0", "(id COLLATE NOCASE)", "(id COLLATE RTRIM)", "(id, entity_id)", "(lower(id))", "(abs(id))"],
)
def test_a_unique_index_that_guarantees_less_than_a_unique_key_is_refused(
    store: Any, settings: Any, drift: Any, index: str
) -> None:
    made = store(
        lambda schema: schema.change_column(FACTS, "id", "id TEXT").then(f"CREATE UNIQUE INDEX u ON {FACTS} {index}")
    )
    message = drift(settings(made))
    assert f"{FACTS}: " in message
    assert "not supported" in message or "not unique" in message


@pytest.mark.parametrize("collation", ["NOCASE", "RTRIM"])
def test_a_key_column_that_compares_by_another_collation_is_refused(
    store: Any, settings: Any, drift: Any, collation: str
) -> None:
    made = store(lambda schema: schema.change_column(FACTS, "id", f"id TEXT COLLATE {collation} PRIMARY KEY"))
    assert "collation other than BINARY" in drift(settings(made))
    made = store(
        lambda schema: schema.change_column(FACTS, "id", f"id TEXT COLLATE {collation}").then(
            f"CREATE UNIQUE INDEX u ON {FACTS} (id COLLATE BINARY)"
        ),
        name="other.db",
    )
    assert "for every batch" in drift(settings(made))


@pytest.mark.parametrize("collation", ["NOCASE", "RTRIM"])
def test_a_fact_id_that_compares_by_another_collation_is_refused(
    store: Any, settings: Any, drift: Any, collation: str
) -> None:
    made = store(
        lambda schema: schema.change_column(METADATA, "fact_id", f"fact_id TEXT PRIMARY KEY COLLATE {collation}")
    )
    assert f'{METADATA}: the unique index on "fact_id"' in drift(settings(made))


# -- what is no ordinary table -------------------------------------------------------------------------


def test_a_view_is_refused_by_name(store: Any, settings: Any, drift: Any) -> None:
    made = store(lambda schema: schema.then(f"CREATE VIEW facts_view AS SELECT * FROM {FACTS}"))
    message = drift(settings(made, tables={"facts": {"name": "facts_view"}}))
    assert "facts_view: is a view (contract: tables.facts.name" in message
    assert "name the one behind it" in message


def test_a_virtual_table_and_its_shadows_are_refused_by_name(store: Any, settings: Any, drift: Any) -> None:
    made = store(lambda schema: schema.then("CREATE VIRTUAL TABLE searchable USING fts5 (id, source_url)"))
    assert "searchable: is a virtual table" in drift(settings(made, tables={"facts": {"name": "searchable"}}))
    assert "searchable_data: is a shadow table" in drift(settings(made, tables={"source": {"name": "searchable_data"}}))
    assert "dbstat: no such table" in drift(settings(made, tables={"facts": {"name": "dbstat"}}))


@pytest.mark.parametrize("name", ["sqlite_schema", "sqlite_master", "sqlite_sequence", "sqlite_stat1"])
def test_sqlites_own_tables_are_no_fact_store(store: Any, settings: Any, drift: Any, name: str) -> None:
    assert f"{name}: no such table" in drift(settings(store(), tables={"facts": {"name": name}}))


def test_an_unrelated_broken_view_does_not_matter(store: Any, works: Any) -> None:
    made = store(lambda schema: schema.then("CREATE VIEW broken AS SELECT gone FROM nowhere"))
    made.add_fact(1)
    works(made)


# -- plans ---------------------------------------------------------------------------------------------


def test_a_source_key_without_an_index_is_refused_because_each_batch_would_scan_it(
    store: Any, settings: Any, drift: Any
) -> None:
    made = store(lambda schema: schema.change_column("am_source", "id", "id INTEGER"))
    assert 'am_source: "id" is not unique' in drift(settings(made))


def test_a_source_id_of_another_type_than_the_sources_key_is_refused_if_no_index_can_serve_it(
    store: Any, settings: Any, drift: Any
) -> None:
    made = store(lambda schema: schema.change_column("am_source", "id", "id TEXT PRIMARY KEY"))
    message = drift(settings(made))
    assert "read_batch would scan am_source from end to end for every batch" in message
    assert "with the type of the column it is compared to" in message


def test_a_source_id_that_sqlite_can_convert_works(store: Any, works: Any) -> None:
    made = store(lambda schema: schema.change_column(FACTS, "source_id", "source_id TEXT"))
    made.add_source(12, "https://a.test/")
    made.add_facts([{"id": 1, "source_id": "12"}, {"id": 2, "source_id": "x"}])
    works(made)
    assert [made.metadata()[key]["source_doc"] for key in ("1", "2")] == ["https://a.test/", None]


def test_a_metadata_key_of_a_numeric_type_is_refused(store: Any, settings: Any, drift: Any) -> None:
    for number, declared in enumerate(("INTEGER", "INT", "NUMERIC", "REAL")):
        made = store(
            lambda s, d=declared: s.change_column(METADATA, "fact_id", f"fact_id {d} PRIMARY KEY"), name=f"{number}.db"
        )
        assert METADATA in drift(settings(made))


def test_a_ledger_without_its_primary_key_is_refused(store: Any, settings: Any, drift: Any) -> None:
    made = store(lambda schema: schema.replace("am_backfill_chunk", ", PRIMARY KEY (run_id, chunk)", ""))
    assert "claim_chunk does not compile" in drift(settings(made))


# -- what the rehearsal finds --------------------------------------------------------------------------


def changed(schema: Any, column: str, declaration: str) -> Any:
    """The metadata table with a column declared in another way."""
    return schema.change_column(METADATA, column, declaration)


@pytest.mark.parametrize(
    ("mutate", "said"),
    [
        (lambda s: s.replace(METADATA, "length(ed25519_sig) BETWEEN 64 AND 96", "length(ed25519_sig) = 64"),
         "a row of this job would be refused: CHECK"),
        (lambda s: s.add(METADATA, "reviewed_by TEXT NOT NULL"), "NOT NULL constraint failed"),
        (lambda s: s.add(METADATA, "CHECK (source_doc LIKE 'https://%')"), "CHECK"),
        (lambda s: changed(s, "source_doc", "source_doc TEXT NOT NULL"), "NOT NULL constraint failed"),
        (lambda s: changed(s, "source_doc", "source_doc TEXT UNIQUE"), "UNIQUE constraint failed"),
        (lambda s: changed(s, "confidence_lower", "confidence_lower TEXT"), '"confidence_lower" turns 0.0'),
        (lambda s: changed(s, "confidence_upper", "confidence_upper INTEGER"), '"confidence_upper" turns 1.0'),
        (lambda s: changed(s, "source_doc", "source_doc NUMERIC"), '"source_doc" turns \'7\' into 7'),
        (lambda s: changed(s, "extracted_at", "extracted_at INTEGER NOT NULL CHECK (extracted_at < 9)"), "CHECK"),
        (lambda s: changed(s, "verified_by", "verified_by TEXT CHECK (length(verified_by) < 3)"), "CHECK"),
        (lambda s: changed(s, "verified_by", "verified_by TEXT AS ('x')"), '"verified_by" is generated'),
        (lambda s: s.change_column(LOG, "fact_id", "fact_id INTEGER NOT NULL"), '"fact_id" turns'),
        (lambda s: s.change_column(LOG, "signature_hex", "signature_hex NUMERIC NOT NULL"), "CHECK"),
        (lambda s: s.replace(LOG, "BETWEEN 128 AND 256", "= 256"), "CHECK"),
        (lambda s: s.change_column(LOG, "attestation_id", "attestation_id TEXT NOT NULL PRIMARY KEY"), "NOT NULL"),
        (lambda s: s.change_column(LOG, "fact_id", "fact_id TEXT NOT NULL UNIQUE"), "UNIQUE constraint failed"),
        (lambda s: s.replace("am_backfill_chunk", "'done')", "'finished')"), "CHECK"),
        (lambda s: s.add("am_backfill_run", "team TEXT NOT NULL"), "NOT NULL constraint failed: am_backfill_run.team"),
        (lambda s: s.add("am_backfill_reject", "team TEXT NOT NULL"), "NOT NULL"),
    ],
)  # fmt: skip
def test_a_declaration_that_would_refuse_or_change_a_row_is_found_by_rehearsing(
    store: Any, settings: Any, drift: Any, mutate: Any, said: str
) -> None:
    assert said in drift(settings(store(mutate)))


@pytest.mark.parametrize(
    "mutate",
    [
        lambda s: s.add(METADATA, "reviewed_by TEXT NOT NULL DEFAULT 'nobody'"),
        lambda s: s.add(METADATA, "reviewed_by TEXT"),
        lambda s: s.add(METADATA, "key_id TEXT AS (hex(substr(ed25519_sig, 73)))"),
        lambda s: s.change_column(METADATA, "extracted_at", "extracted_at TIMESTAMP NOT NULL"),
        lambda s: s.change_column(METADATA, "fact_id", "fact_id PRIMARY KEY"),
        lambda s: s.change_column(METADATA, "fact_id", "fact_id VARCHAR(40) NOT NULL UNIQUE"),
        lambda s: s.change_column(METADATA, "confidence_lower", "confidence_lower DOUBLE PRECISION"),
        lambda s: s.change_column(METADATA, "ed25519_sig", "ed25519_sig"),
        lambda s: s.change_column(METADATA, "created_at", "created_at INTEGER NOT NULL DEFAULT 0"),
        lambda s: s.change_column(LOG, "attestation_id", "attestation_id INTEGER PRIMARY KEY"),
        lambda s: s.drop("ix_am_fact_metadata_source_doc", "ix_am_fact_metadata_verified_by"),
        lambda s: s.drop("v_am_fact_attestation_latest", "v_am_fact_explainability"),
        lambda s: s.drop("am_fact_signature"),
        lambda s: s.then(f"CREATE INDEX extra ON {METADATA} (lower(source_doc)) WHERE source_doc IS NOT NULL"),
        lambda s: s.change_column(FACTS, "created_at", "created_at TEXT AS ('2026-05-12')"),
        lambda s: s.change_column(METADATA, "fact_id", f"fact_id TEXT PRIMARY KEY REFERENCES {FACTS} (id)"),
    ],
)
def test_a_harmless_difference_from_the_canonical_shape_works(store: Any, works: Any, mutate: Any) -> None:
    made = store(mutate)
    made.add_source(1, "https://a.test/")
    made.add_facts(
        [{"id": 1, "source_id": 1, "confidence": 0.5}, {"id": 2}, {"id": 3, "source_id": 1, "confidence": 7}]
    )
    assert works(made)["rows"] == {"eligible": 3, "inserted": 2, "updated": 0, "unchanged": 0, "rejected": 1}


# -- triggers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["INSERT", "UPDATE", "UPDATE OF source_doc"])
@pytest.mark.parametrize("body", [f"UPDATE {FACTS} SET confidence = 0", f"UPDATE {METADATA} SET notes = 'x'",
                                  f"DELETE FROM {LOG}", "INSERT INTO am_source (source_url) VALUES ('x')"])  # fmt: skip
def test_a_trigger_that_writes_is_refused_by_its_name(
    store: Any, settings: Any, drift: Any, operation: str, body: str
) -> None:
    trigger = f"CREATE TRIGGER sneaky AFTER {operation} ON {METADATA} BEGIN {body}; END"
    message = drift(settings(store(lambda schema: schema.then(trigger))))
    assert "inside the trigger 'sneaky'" in message
    assert f"{METADATA}: " in message


@pytest.mark.parametrize(
    "table", [LOG, "am_backfill_chunk", "am_backfill_batch", "am_backfill_reject", "am_backfill_run"]
)
def test_a_trigger_that_writes_is_found_on_every_table_of_the_job(
    store: Any, settings: Any, drift: Any, table: str
) -> None:
    trigger = f"CREATE TRIGGER sneaky AFTER INSERT ON {table} BEGIN UPDATE {FACTS} SET confidence = 0; END"
    message = drift(settings(store(lambda schema: schema.then(trigger))))
    assert "inside the trigger 'sneaky'" in message
    assert f"{table}: " in message  # the table that holds the trigger, which is where it has to be dropped


@pytest.mark.parametrize("operation", ["UPDATE", "DELETE"])
def test_a_trigger_that_keeps_the_log_append_only_is_welcome(store: Any, works: Any, operation: str) -> None:
    trigger = f"CREATE TRIGGER keep BEFORE {operation} ON {LOG} BEGIN SELECT RAISE(ABORT, 'append-only'); END"
    made = store(lambda schema: schema.then(trigger))
    made.add_fact(1)
    works(made)


def test_a_trigger_on_the_facts_is_none_of_our_business(store: Any, works: Any) -> None:
    trigger = f"CREATE TRIGGER touch AFTER UPDATE ON {FACTS} BEGIN UPDATE am_source SET license = 'x'; END"
    made = store(lambda schema: schema.then(trigger))
    made.add_fact(1)
    works(made)


@pytest.mark.parametrize("action", ["RAISE(ABORT, 'no')", "RAISE(IGNORE)"])
def test_a_trigger_that_turns_rows_away_is_found_by_rehearsing(
    store: Any, settings: Any, drift: Any, action: str
) -> None:
    trigger = (
        f"CREATE TRIGGER refuse BEFORE INSERT ON {METADATA} WHEN new.source_doc IS NULL BEGIN SELECT {action}; END"
    )
    assert METADATA in drift(settings(store(lambda schema: schema.then(trigger))))


# -- the file and the engine ---------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_a_utf16_database_is_refused_with_a_mend_that_works(
    store: Any, settings: Any, drift: Any, encoding: str
) -> None:
    message = drift(settings(store(encoding=encoding)))
    assert f"text encoding is {encoding}, only UTF-8 is supported" in message
    assert "VACUUM INTO" not in message  # it keeps the encoding
    assert "\n" not in message  # nothing else that could be said of it would be true


def test_apply_schema_and_the_readers_refuse_another_encoding_first(store: Any, settings: Any) -> None:
    config = settings(store(lambda schema: schema.sidecar_missing(), encoding="UTF-16le"))
    contexts = (open_attestations(config), open_log_session(config, purpose="read"))
    for act in (lambda: apply_schema(config), lambda: is_applied(config), *(context.__enter__ for context in contexts)):
        with pytest.raises(DriftError) as caught:
            act()
        assert "text encoding is UTF-16le" in str(caught.value) and "\n" not in str(caught.value)


def _with_an_applications_own(path: Path, *sql: str) -> None:
    """Declare things on a connection that has a collation and a function of its own."""
    with closing(apsw.Connection(str(path))) as application:
        application.create_collation("japanese", lambda one, other: (one > other) - (one < other))
        application.create_scalar_function("domain_of", lambda url: url, deterministic=True)
        for statement in sql:
            application.execute(statement)


def test_what_only_the_application_registers_is_told_once_for_each_object(store: Any, settings: Any) -> None:
    made = store()
    _with_an_applications_own(
        made.path,
        "CREATE INDEX by_domain ON am_fact_metadata (domain_of(source_doc))",
        "CREATE INDEX by_name ON am_fact_attestation_log (attester COLLATE japanese)",
    )
    with pytest.raises(DriftError) as caught, open_session(settings(made), write=False):
        pass
    message = str(caught.value)
    assert message.count("domain_of") == 1 and message.count("japanese") == 1, message
    assert "am_fact_metadata" in message and 'its index by_domain uses the function "domain_of"' in message
    assert "am_fact_attestation_log" in message and 'its index by_name uses the collation "japanese"' in message
    with pytest.raises(DriftError) as caught, open_log_session(settings(made), purpose="seal"):
        pass
    message = str(caught.value)  # sealing writes the log alone, and nothing that the other function is needed for
    assert message.count("japanese") == 1 and 'its index by_name uses the collation "japanese"' in message


@pytest.mark.parametrize("name", ["backfill_batch", "b", "BACKFILL_BATCH"])
def test_facts_may_be_called_what_staging_was_called_once(name: str, store: Any, settings: Any, run: Any) -> None:
    made = store(lambda schema: schema.rename_table("am_entity_facts", name))
    made.insert(name, [{"id": 1, "entity_id": "a", "field_name": "b", "source_url": "https://a/1"}])
    report = run(settings(made, tables={"facts": {"name": name}}))
    assert report["rows"]["inserted"] == 1
    assert made.metadata()["1"]["source_doc"] == "https://a/1"


@pytest.mark.parametrize("name", [STAGING, STAGING.upper()])
def test_a_table_of_the_contract_that_staging_would_hide_is_refused(
    name: str, store: Any, settings: Any, drift: Any
) -> None:
    made = store(lambda schema: schema.rename_table("am_entity_facts", name))
    assert "its temporary table" in drift(settings(made, tables={"facts": {"name": name}}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not a database\n" * 200, "not a SQLite database (or an encrypted one)"),
        (b"SQLite format 3\x00" + b"\xff" * 5000, "not a SQLite database"),
        (b"SQLite format 3\x00", ""),
        (b"\x00" * 4096, "not a SQLite database"),
    ],
)
def test_a_file_that_is_no_usable_database_is_one_message_and_stays_as_it_is(
    store: Any, settings: Any, content: bytes, said: str
) -> None:
    config = settings(store())
    config.place.path.write_bytes(content)
    for write in (False, True):
        with pytest.raises(ProvenanceError) as caught, open_session(config, write=write):
            pass
        assert said in str(caught.value)
        assert "Nothing was written." in str(caught.value)
    assert config.place.path.read_bytes() == content


@pytest.mark.parametrize("place", [slice(100, 200), slice(4096, 4300), slice(8192, 8300), slice(-4096, None)])
def test_a_damaged_database_is_one_message(store: Any, settings: Any, run: Any, place: slice) -> None:
    made = store(journal_mode="delete")
    made.add_facts({"id": key} for key in range(200))
    content = bytearray(made.path.read_bytes())
    content[place] = b"\xa5" * len(content[place])
    made.path.write_bytes(content)
    try:
        run(settings(made))
    except ProvenanceError as error:
        assert "store.db" in str(error) or "am_" in str(error)


@pytest.mark.parametrize("name", ["x" * 300, "folder", "folder/inside/none.db", "a\tb"])
def test_a_path_that_is_no_file_is_one_message(store: Any, settings: Any, tmp_path: Path, name: str) -> None:
    config = settings(store()).model_copy(update={"database": str(tmp_path / name)})
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatabaseError, match=r"database .*Nothing was written\."), open_session(config, write=False):
        pass
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("version", ["3.7.0", "3.40.1", "3.51.2", "3.51.1", "3.7.0.1"])
def test_an_engine_with_the_wal_reset_bug_is_refused(version: str) -> None:
    with pytest.raises(DatabaseError, match=rf"SQLite {version} has the WAL-reset bug .* Expected 3\.51\.3 or later"):
        refuse_unsafe_engine(version)


@pytest.mark.parametrize("version", ["3.6.23", "3.51.3", "3.51.10", "3.52.0", "4.0.0", "3.6.23.1"])
def test_an_engine_without_that_bug_is_taken(version: str) -> None:
    refuse_unsafe_engine(version)


def test_the_engine_is_looked_at_before_the_file_is_opened(
    store: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(store())
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.40.1")
    monkeypatch.setattr(apsw, "Connection", None)
    with pytest.raises(DatabaseError, match="WAL-reset bug"), open_session(config, write=False):
        pass


@pytest.mark.parametrize("mode", ["wal", "delete", "truncate", "persist"])
def test_every_journal_mode_works_and_stays_as_it_is(store: Any, works: Any, mode: str) -> None:
    made = store(journal_mode=mode)
    made.add_facts({"id": n} for n in range(12))
    before = made.execute("PRAGMA journal_mode")
    works(made)
    assert made.execute("PRAGMA journal_mode") == before


def test_a_name_that_is_not_utf8_in_somebody_elses_table_is_no_crash(store: Any, settings: Any, run: Any) -> None:
    made = store(lambda schema: schema.then(
        "CREATE TABLE zzzz (a)", "PRAGMA writable_schema = 1",
        "UPDATE sqlite_schema SET name = CAST(x'ff7a7a7a' AS TEXT), tbl_name = CAST(x'ff7a7a7a' AS TEXT), "
        "sql = replace(sql, 'zzzz', CAST(x'ff7a7a7a' AS TEXT)) WHERE name = 'zzzz'",
    ))  # fmt: skip
    made.add_fact(1)
    assert run(settings(made))["rows"]["inserted"] == 1


# -- what the gate leaves behind -----------------------------------------------------------------------


def test_schema_json_tells_what_was_verified(store: Any, settings: Any, paths: Any) -> None:
    config = settings(store(lambda schema: schema.drop_column(FACTS, "confidence")))
    verify_schema(config, paths(config))
    content = json.loads(paths(config).schema.read_text(encoding="utf-8"))
    assert content["engine"] == {"name": "SQLite", "version": apsw.sqlite_lib_version()}
    assert len(content["fingerprint"]) == 64
    assert content["binding"]["facts"]["key"] == "id"
    assert content["binding"]["facts"]["confidence"] is None
    assert content["absences"] == [f'{FACTS} has no column "confidence", which is optional']
    assert content["signing"] == {"key_id": None, "key_name": "provenance-backfill/sample"}
    assert len(content["checks"]) == 5
    statements = {statement["name"]: statement for statement in content["statements"]}
    assert statements["read_batch"]["plan"][0].startswith("SEARCH f ")
    assert statements["insert_metadata"]["writes"] is True
    with open_session(config, write=False) as session:
        assert {s.name for s in build_statements(session.binding)} <= set(statements)


def test_schema_json_never_holds_the_key(store: Any, settings: Any, paths: Any, signing_key: str) -> None:
    config = settings(store())
    verify_schema(config, paths(config))
    text = paths(config).schema.read_text(encoding="utf-8")
    assert signing_key not in text
    assert json.loads(text)["signing"]["key_id"] is not None


def test_the_gate_is_passed_again_once_a_bound_table_changed(store: Any, settings: Any, paths: Any) -> None:
    made = store()
    config = settings(made)
    assert is_verified(config, paths(config)) is False
    verify_schema(config, paths(config))
    assert is_verified(config, paths(config)) is True
    made.execute("CREATE TABLE unrelated (x)")
    assert is_verified(config, paths(config)) is True
    made.execute(f"CREATE INDEX another ON {METADATA} (notes)")
    assert is_verified(config, paths(config)) is False


def test_the_gate_is_passed_again_once_the_contract_changed(store: Any, settings: Any, paths: Any) -> None:
    made = store()
    config = settings(made)
    verify_schema(config, paths(config))
    changed = settings(made, tables={"facts": {"confidence": None}})
    assert is_verified(changed, paths(changed)) is False


def test_a_schema_that_changes_under_a_session_is_noticed_before_the_next_batch(store: Any, settings: Any) -> None:
    made = store()
    with open_session(settings(made), write=True) as session:
        session.check_schema()
        made.execute(f"ALTER TABLE {FACTS} RENAME COLUMN id TO fact_id")
        with pytest.raises(SchemaChangedError, match="the schema changed"):
            session.check_schema()


def test_the_gate_executes_no_statement_of_the_run(store: Any, settings: Any) -> None:
    """A trace of everything that runs on the file while the gate is passed: setup, catalogue and EXPLAIN."""
    made = store()
    seen: list[str] = []

    def trace(cursor: Any, sql: str, bindings: Any) -> bool:
        seen.append(sql)
        return True

    def watch(connection: apsw.Connection) -> None:
        if connection.filename:  # the copy that the rehearsal writes to is in memory
            connection.exec_trace = trace

    apsw.connection_hooks.append(watch)
    try:
        with open_session(settings(made), write=True) as session:
            statements = {s.sql for s in build_statements(session.binding)}
    finally:
        apsw.connection_hooks.remove(watch)
    assert any(sql.startswith("EXPLAIN QUERY PLAN SELECT") for sql in seen)
    assert any(sql.startswith("EXPLAIN QUERY PLAN INSERT") for sql in seen)
    assert statements & set(seen) == {"PRAGMA schema_version"}
