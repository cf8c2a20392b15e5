"""The gate on the file and the engine: what is no usable database is one message."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from tasks.core.errors import DatabaseError, DriftError, ProvenanceError
from tasks.stores.sqlite.apply import apply_schema, is_applied
from tasks.stores.sqlite.attestations import open_attestations
from tasks.stores.sqlite.opening import refuse_unsafe_engine
from tasks.stores.sqlite.sealed_log import open_log_session
from tasks.stores.sqlite.session import open_session
from tasks.stores.sqlite.sql.spelling import STAGING


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
