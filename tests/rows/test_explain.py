"""What is known of facts: the envelope to the letter, attached without ever raising, writing or asking twice."""

from __future__ import annotations

import copy
import json
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

import tasks.explain
from tasks.core.errors import DatabaseError, JobFileError
from tasks.explain import attach, lookup


@pytest.fixture
def known(attested: Any) -> Any:
    """A store of twelve attested facts."""
    store, settings = attested(12)
    return store, settings


OPEN = {"sqlite3": sqlite3.connect, "apsw": apsw.Connection}
_library = ["sqlite3"]
_connections: list[Any] = []


@pytest.fixture(autouse=True, params=OPEN)
def library(request: Any) -> Iterator[str]:
    """The library that the application asks with: every test here is run with each."""
    _library[0] = request.param
    tasks.explain._told.clear()
    yield request.param
    while _connections:
        _connections.pop().close()


def application(path: Path) -> Any:
    """A connection as an application has one, of the library of this test."""
    _connections.append(OPEN[_library[0]](str(path)))
    return _connections[-1]


def job(settings: Any) -> dict[str, Any]:
    return {"job": settings.job_file, "connection": application(settings.place.path)}


def test_the_envelope_of_a_fact_to_the_letter(known: Any) -> None:
    store, settings = known
    store.execute("UPDATE am_fact_attestation_log SET signed_at = '2026-11-22T01:02:03.004Z'")
    assert attach({"fact_id": "1", "value": 42}, **job(settings)) == {
        "fact_id": "1",
        "value": 42,
        "provenance": {
            "@context": "https://schema.org/",
            "@type": "Dataset",
            "facts": [
                {
                    "fact_id": "1",
                    "source_doc": "https://例え.jp/1",
                    "extracted_at": "2026-05-02T01:02:03.000Z",
                    "verified_by": "etl_prov_backfill_v2",
                    "confidence": {"lower": 0.05, "upper": pytest.approx(0.15)},
                    "attestation_count": 1,
                    "latest_signed_at": "2026-11-22T01:02:03.004Z",
                    "ed25519_sig_present": True,
                }
            ],
        },
    }


def test_confidence_is_left_out_only_where_no_bound_is_known(known: Any) -> None:
    store, settings = known
    store.execute("UPDATE am_fact_metadata SET confidence_lower = NULL WHERE fact_id = '1'")
    store.execute("UPDATE am_fact_metadata SET confidence_lower = NULL, confidence_upper = NULL WHERE fact_id = '2'")
    one, two = lookup(["1", "2"], **job(settings))
    assert one["confidence"]["lower"] is None and one["confidence"]["upper"] is not None
    assert "confidence" not in two


def test_a_placeholder_is_no_signature(attested: Any) -> None:
    _, settings = attested(1, signed=False)
    assert lookup(["1"], **job(settings))[0]["ed25519_sig_present"] is False


def test_attestations_are_counted_and_the_latest_is_told(known: Any) -> None:
    store, settings = known
    store.execute("INSERT INTO am_fact_attestation_log (fact_id, attester, signed_at, signature_hex) VALUES "
                  f"('1', 'x', '2099-01-01T00:00:00.000Z', '{'0' * 128}')")  # fmt: skip
    store.add_metadata("never logged")
    one, other = lookup(["1", "never logged"], **job(settings))
    assert (one["attestation_count"], one["latest_signed_at"]) == (2, "2099-01-01T00:00:00.000Z")
    assert (other["attestation_count"], other["latest_signed_at"]) == (0, None)


def test_the_latest_attestation_is_that_of_the_highest_id_whatever_the_clock_said(known: Any) -> None:
    store, settings = known
    for signed_at in ("2099-01-01T00:00:00.000Z", "2001-01-01T00:00:00.000Z"):
        store.execute("INSERT INTO am_fact_attestation_log (fact_id, attester, signed_at, signature_hex) VALUES "
                      f"('1', 'x', '{signed_at}', '{'0' * 128}')")  # fmt: skip
    (one,) = lookup(["1"], **job(settings))
    assert (one["attestation_count"], one["latest_signed_at"]) == (3, "2001-01-01T00:00:00.000Z")


def test_ids_are_found_everywhere_in_order_without_duplicates(known: Any) -> None:
    _, settings = known
    payload = {
        "fact_id": "5",
        "fact_ids": ["3", "5", "nobody", "1", None, 7, True, 1.5, "", ["2"]],
        "results": [{"fact_id": "9"}, {"fact_id": "3"}, {}, "2", None, {"fact_id": {"a": 1}}, {"fact_id": "2"}],
    }
    before = copy.deepcopy(payload)
    found = attach(payload, **job(settings))
    assert [fact["fact_id"] for fact in found["provenance"]["facts"]] == ["5", "3", "1", "7", "9", "2"]
    assert payload == before
    assert {name: found[name] for name in payload} == before


def test_ids_that_are_given_go_before_those_of_the_payload(known: Any) -> None:
    _, settings = known
    found = attach({"fact_id": "1"}, ["4", "2", "4"], **job(settings))
    assert [fact["fact_id"] for fact in found["provenance"]["facts"]] == ["4", "2"]
    assert attach({"fact_id": "1"}, [], **job(settings)) == {"fact_id": "1"}


def test_a_text_alone_is_one_id_and_not_its_characters(known: Any) -> None:
    _, settings = known
    assert [fact["fact_id"] for fact in lookup("12", **job(settings))] == ["12"]
    assert [fact["fact_id"] for fact in attach({}, "12", **job(settings))["provenance"]["facts"]] == ["12"]


@pytest.mark.parametrize(
    "payload",
    [{}, {"fact_id": "nobody"}, {"fact_id": None}, {"fact_ids": "12"}, {"results": {"fact_id": "1"}},
     {"fact_id": "\ud800"}, {"fact_id": "1\x00"}, {"results": [[{"fact_id": "1"}]]}],
)  # fmt: skip
def test_a_payload_of_which_nothing_is_known_comes_back_as_it_was(payload: dict[str, Any], known: Any) -> None:
    _, settings = known
    found = attach(payload, **job(settings))
    assert found == payload
    assert found is not payload


def test_a_provenance_that_is_there_is_replaced_in_the_new_dict_only(known: Any) -> None:
    _, settings = known
    payload = {"fact_id": "1", "provenance": "old"}
    assert attach(payload, **job(settings))["provenance"]["@type"] == "Dataset"
    assert payload["provenance"] == "old"


@pytest.mark.parametrize("table", ["am_fact_metadata", "am_fact_attestation_log"])
def test_missing_tables_are_no_error(table: str, known: Any) -> None:
    store, settings = known
    store.execute("DROP VIEW v_am_fact_explainability")
    store.execute("DROP VIEW v_am_fact_attestation_latest")
    store.execute(f"DROP TABLE {table}")
    assert lookup(["1"], **job(settings)) == []
    assert attach({"fact_id": "1"}, **job(settings)) == {"fact_id": "1"}


def test_a_missing_database_is_no_error_and_is_not_created(tmp_path: Path) -> None:
    missing = tmp_path / "none.db"
    assert attach({"fact_id": "1"}, database=missing, job=tmp_path / "none.yaml") == {"fact_id": "1"}
    assert not missing.exists()


def test_without_job_file_and_database_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert attach({"fact_id": "1"}) == {"fact_id": "1"}


def test_an_empty_file_has_no_tables(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    assert lookup(["1"], database=tmp_path / "empty.db", job=tmp_path / "none.yaml") == []
    assert lookup(["1"], connection=application(tmp_path / "empty.db"), job=tmp_path / "none.yaml") == []


def test_a_database_alone_is_read_by_the_canonical_names(known: Any, tmp_path: Path) -> None:
    store, settings = known
    assert lookup(["1"], database=store.path, job=tmp_path / "none.yaml") == lookup(["1"], **job(settings))
    connection = application(store.path)
    assert lookup(["1"], connection=connection, job=tmp_path / "none.yaml") == lookup(["1"], **job(settings))


def test_names_of_the_job_file_are_followed(store: Any, settings: Any) -> None:
    made = store(lambda schema: schema.rename_table("am_fact_metadata", "provenance"))
    made.insert("provenance", [{"fact_id": "1", "ed25519_sig": bytes(64)}])
    loaded = settings(made, tables={"metadata": {"name": "provenance"}})
    assert [fact["fact_id"] for fact in lookup(["1"], **job(loaded))] == ["1"]


def test_what_is_there_and_wrong_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "no.db").write_text("this is no database, whatever its name says" * 100)
    with pytest.raises(DatabaseError, match="not a SQLite database"):
        lookup(["1"], database=tmp_path / "no.db", job=tmp_path / "none.yaml")
    (tmp_path / "job.yaml").write_text("databse: x")
    with pytest.raises(JobFileError):
        lookup(["1"], job=tmp_path / "job.yaml")


def test_values_that_are_not_text_still_make_json(known: Any) -> None:
    store, settings = known
    store.execute("UPDATE am_fact_metadata SET source_doc = CAST(x'61ff' AS TEXT), verified_by = x'00ff' "
                  "WHERE fact_id = '1'")  # fmt: skip
    found = attach({"fact_id": "1"}, **job(settings))
    fact = json.loads(json.dumps(found))["provenance"]["facts"][0]
    assert (fact["source_doc"], fact["verified_by"]) == ("a\ufffd", "00ff")


def _traced(connection: Any, asked: list[str]) -> Any:
    if isinstance(connection, sqlite3.Connection):
        connection.set_trace_callback(asked.append)
    else:
        connection.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: asked.append(event["sql"]))
    return connection


def test_the_database_is_asked_once_however_many_ids_there_are(known: Any) -> None:
    _, settings = known
    asked: list[str] = []
    connection = _traced(application(settings.place.path), asked)
    found = lookup([str(number) for number in range(5000)], job=settings.job_file, connection=connection)
    assert len(found) == 12
    assert [sql.split()[0] for sql in asked if not sql.startswith("--")] == ["SELECT"]


def test_nothing_is_written(known: Any, dump: Any) -> None:
    store, settings = known
    before = dump(store.path)
    attach({"fact_id": "1"}, **job(settings))
    assert dump(store.path) == before


# -- on the application's own connection -------------------------------------------------------------

_TAKE_THE_WRITE_LOCK = """
import apsw, sys
try:
    apsw.Connection(sys.argv[1]).execute("BEGIN IMMEDIATE")
    print("taken")
except apsw.BusyError:
    print("busy")
"""


def another_process_takes_the_write_lock(path: Path) -> bool:
    ask = [sys.executable, "-c", _TAKE_THE_WRITE_LOCK, str(path)]
    return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip() == "taken"


@pytest.mark.parametrize("asks", ["with its connection", "with a path alone"])
@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_a_transaction_of_the_application_keeps_its_lock_and_its_rows(asks: str, journal_mode: str, known: Any) -> None:
    store, settings = known
    store.execute(f"PRAGMA journal_mode = {journal_mode}")
    connection = application(store.path)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO am_entity_facts (id, entity_id, field_name) VALUES (99, 'mine', 'mine')")
    on = {"connection": connection} if asks == "with its connection" else {}
    assert "provenance" in attach({"fact_id": "1"}, job=settings.job_file, **on)
    assert not another_process_takes_the_write_lock(store.path)
    connection.execute("COMMIT")
    assert another_process_takes_the_write_lock(store.path)
    assert connection.execute("SELECT count(*) FROM am_entity_facts WHERE id = 99").fetchone() == (1,)


def test_what_the_application_has_not_committed_yet_is_known_to_it_alone(known: Any) -> None:
    store, settings = known
    connection = application(store.path)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE am_fact_metadata SET source_doc = 'https://mine.test/' WHERE fact_id = '1'")
    (mine,) = lookup(["1"], job=settings.job_file, connection=connection)
    (other,) = lookup(["1"], job=settings.job_file)
    connection.execute("ROLLBACK")
    assert (mine["source_doc"], other["source_doc"]) == ("https://mine.test/", "https://例え.jp/1")


def test_a_connection_is_left_as_it_was(known: Any, library: str) -> None:
    store, settings = known
    connection = application(store.path)
    if library == "sqlite3":
        connection.row_factory, connection.text_factory, connection.isolation_level = sqlite3.Row, bytes, None
    else:
        connection.row_trace = lambda cursor, row: {"row": row}
    pragmas = "query_only", "cache_size", "synchronous", "busy_timeout", "temp_store", "foreign_keys"
    before = [tuple(map(str, connection.execute(f"PRAGMA {name}").fetchone())) for name in pragmas]
    asked: list[str] = []
    _traced(connection, asked)
    assert lookup(["1"], job=settings.job_file, connection=connection)[0]["source_doc"] == "https://例え.jp/1"
    assert all(sql.startswith(("SELECT", "--")) for sql in asked)
    row = connection.execute("SELECT 'text' AS one").fetchone()
    if library == "sqlite3":
        assert (type(row), row["one"]) == (sqlite3.Row, b"text")
    else:
        assert row == {"row": ("text",)}
    assert [tuple(map(str, connection.execute(f"PRAGMA {name}").fetchone())) for name in pragmas] == before
    assert not connection.in_transaction
    with closing(apsw.Connection(str(store.path))) as other:
        other.execute("DELETE FROM am_fact_metadata WHERE fact_id = '12'")  # no read was left open that would block it


def test_no_file_of_the_database_is_opened_by_a_question_with_a_path_alone(
    known: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, settings = known
    opened: list[str] = []
    monkeypatch.setattr(apsw, "connection_hooks", [lambda connection: opened.append(connection.filename)])
    assert lookup(["1"], job=settings.job_file)[0]["fact_id"] == "1"
    assert opened == []


# -- drift is told, once -----------------------------------------------------------------------------


def warnings(caplog: Any) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "tasks.explain"]


@pytest.mark.parametrize(
    ("change", "words"),
    [("ALTER TABLE am_fact_metadata RENAME COLUMN source_doc TO source_document", "no such column: m.source_doc"),
     ("ALTER TABLE am_fact_attestation_log RENAME TO elsewhere", "no such table: am_fact_attestation_log"),
     ("DROP INDEX ix_am_fact_attestation_log_fact_id", "scan am_fact_attestation_log from end to end")],
)  # fmt: skip
@pytest.mark.parametrize("asks", ["with its connection", "with a path alone"])
def test_drift_leaves_the_payload_as_it_was_and_is_logged_once(
    change: str, words: str, asks: str, known: Any, caplog: Any
) -> None:
    store, settings = known
    store.execute("DROP VIEW v_am_fact_explainability; DROP VIEW v_am_fact_attestation_latest")
    store.execute(change)
    on = job(settings) if asks == "with its connection" else {"job": settings.job_file}
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert attach({"fact_id": "1"}, **on) == {"fact_id": "1"}
    (told,) = warnings(caplog)
    assert told.startswith("no provenance is attached: ")
    if asks == "with its connection":
        assert words in told


def test_a_log_without_signed_at_is_no_drift(store: Any, settings: Any, caplog: Any) -> None:
    made = store(
        lambda schema: schema.drop_column("am_fact_attestation_log", "signed_at"),
        lambda schema: schema.drop("v_am_fact_attestation_latest", "v_am_fact_explainability"),
        lambda schema: schema.then("CREATE INDEX of_fact ON am_fact_attestation_log (fact_id)"),
    )
    made.add_metadata("1")
    (found,) = lookup(["1"], **job(settings(made)))
    assert (found["latest_signed_at"], found["attestation_count"]) == (None, 0)
    assert warnings(caplog) == []


def test_what_the_library_of_the_application_raises_is_raised_as_it_is(known: Any, library: str) -> None:
    _, settings = known
    options = job(settings)
    options["connection"].close()
    with pytest.raises(sqlite3.ProgrammingError if library == "sqlite3" else apsw.ConnectionClosedError):
        lookup(["1"], **options)


def test_only_two_names_are_public() -> None:
    assert tasks.explain.__all__ == ["attach", "lookup"]
