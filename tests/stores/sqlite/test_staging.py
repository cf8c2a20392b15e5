"""What SQL stages for a run without a key is what a run with one would derive, fact by fact."""

from __future__ import annotations

import random
from typing import Any

import apsw
import pytest

from tasks.backfill.preparation import Preparation
from tasks.derivation.batch import Memo, derive_batch
from tasks.derivation.rules import Rules
from tasks.stores.protocols.facts import BatchRead
from tasks.stores.sqlite import runner
from tasks.stores.sqlite.session import SqliteSession, open_session

RULES = Rules(confidence_width=0.05, default_extracted_at="2026-11-22T00:00:00.000Z")
TIMES = [None, "2026-05-11", "2026-05-11 12:36:49", "2026-05-11T12:36:49.123456Z", "2026-05-11 12:36:49+09:00", "now"]
URLS = [None, None, "https://a.test/1", "https://例.test/", " ", "\thttps://b.test/", b"https://c.test/"]
CONFIDENCES = [None, 0.5, 0.03, 1, 0, "0.7", "high", 1.5]
STAGED = "fact_id, source_doc, extracted_at, confidence_lower, confidence_upper, is_update, ed25519_sig, signature_hex"


def fill(made: Any, keys: list[Any], seed: int) -> None:
    """Facts of every kind, plain and odd; of some, metadata without a source, or with one."""
    dice = random.Random(seed)
    made.add_source(1, "https://source.test/1")
    made.add_facts(
        {"id": key, "source_id": dice.choice([None, 1, 2]), "source_url": dice.choice(URLS),
         "created_at": dice.choice(TIMES), "confidence": dice.choice(CONFIDENCES)}
        for key in keys
    )  # fmt: skip
    for key in dice.sample(keys, len(keys) // 4):
        made.add_metadata(str(key), dice.choice([None, None, "https://old.test/"]))


def rows_of(session: SqliteSession, batch: BatchRead) -> list[tuple[Any, ...]]:
    """What a batch comes to: the rows staged for it, and those that are derived from what was read."""
    derivation = derive_batch(batch.facts, RULES, Memo(RULES))
    derived = [(*record, 0) for record in derivation.inserts] + [(*record, 1) for record in derivation.updates]
    return sorted([*derived, *staged_in(session)], key=repr)


def staged_in(session: SqliteSession) -> list[tuple[Any, ...]]:
    connection, guard = session._connection, session._connection.authorizer
    connection.authorizer = None
    rows = connection.execute(f"SELECT {STAGED} FROM temp.am_backfill_staging ORDER BY rowid").fetchall()
    connection.authorizer = guard
    assert all(row[6:] == (None, None) for row in rows), "SQL stages nothing but placeholders"
    return [row[:6] for row in rows]


@pytest.mark.parametrize("key", ["INTEGER PRIMARY KEY", "TEXT PRIMARY KEY", "PRIMARY KEY"])
@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_staged_and_odd_facts_together_are_those_that_are_read(store: Any, settings: Any, key: str, limit: int) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", f"id {key}"))
    keys = list(range(-3, 97)) if "INTEGER" in key else [f"k{n}" for n in range(100)]
    fill(made, keys, limit)
    plain = odd = 0
    with open_session(settings(made), write=True) as session:
        last = keys[-1] if "INTEGER" in key else "~"
        asked: dict[str, Any] = {"after": None, "through": last, "limit": limit, "with_set_aside": False}
        exhausted = False
        while not exhausted:
            staged = session.stage_batch(**asked, rules=RULES)
            found = rows_of(session, staged)
            session._run("clear_staging")
            read = session.read_batch(**asked)
            assert found == rows_of(session, read)
            assert (staged.last, staged.eligible, staged.exhausted) == (read.last, read.eligible, read.exhausted)
            whole, rest = (derive_batch(facts, RULES, Memo(RULES)) for facts in (read.facts, staged.facts))
            assert rest.rejects == whole.rejects
            assert rest.created_at_missing + staged.plain.created_at_missing == whole.created_at_missing
            assert len(rest.inserts) + staged.plain.inserted == len(whole.inserts)
            assert len(rest.updates) + staged.plain.updated == len(whole.updates)
            plain, odd = plain + staged.plain.inserted + staged.plain.updated, odd + len(staged.facts)
            asked["after"], exhausted = read.last, read.exhausted
    assert plain > 5
    assert odd > 40


@pytest.mark.parametrize("broken", ["source_url", "id"])
def test_a_batch_with_text_that_is_not_utf_8_is_read_and_not_staged(store: Any, settings: Any, broken: str) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", "id TEXT PRIMARY KEY"))
    made.add_facts({"id": f"k{n}", "source_url": "https://a.test/"} for n in range(9))
    made.execute(f"UPDATE am_entity_facts SET {broken} = CAST(x'68ff' AS TEXT) WHERE id = 'k4'")
    with open_session(settings(made), write=True) as session:
        batch = session.stage_batch(after=None, through="~", limit=100, with_set_aside=False, rules=RULES)
        assert len(batch.facts) == 9
        assert not staged_in(session)


@pytest.mark.parametrize("batch", ["stage_batch", "tally_batch"])
def test_a_fact_that_is_neither_counted_nor_found_odd_is_not_lost(store: Any, settings: Any, batch: str) -> None:
    made = store()
    made.add_facts({"id": key, "source_url": "https://a.test/" if key % 2 else " x"} for key in range(1, 9))
    with open_session(settings(made), write=batch == "stage_batch") as session:
        session._sql["read_odd_facts_first"] += " LIMIT 3"
        rules = {"rules": RULES} if batch == "stage_batch" else {}
        found = getattr(session, batch)(after=None, through=8, limit=100, with_set_aside=False, **rules)
        assert len(found.facts) == 8


@pytest.mark.parametrize("long", ["source_url", "id"])
@pytest.mark.parametrize("batch", ["stage_batch", "tally_batch"])
def test_long_texts_are_read_and_not_put_together(store: Any, settings: Any, long: str, batch: str) -> None:
    """SQLite makes no text beyond a limit, 10^9 bytes unless it is lowered."""
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", "id TEXT PRIMARY KEY"))
    made.add_facts({"id": f"k{n}", "source_url": "https://a.test/", long: f"k{n:03}" + "x" * 9000} for n in range(20))
    config = settings(made, derivation={"longest_value_bytes": 10_000})
    with open_session(config, write=batch == "stage_batch") as session:
        session._connection.limit(apsw.SQLITE_LIMIT_LENGTH, 50_000)
        rules = {"rules": RULES} if batch == "stage_batch" else {}
        found = getattr(session, batch)(after=None, through="~", limit=100, with_set_aside=False, **rules)
        assert len(found.facts) == 20
        assert found.exhausted


@pytest.mark.parametrize("mode", ["signed", "unsigned", "dry run"])
@pytest.mark.parametrize("broken", [False, True])
def test_a_batch_of_long_values_is_cut_short_and_the_next_one_goes_on(
    mode: str, broken: bool, store: Any, settings: Any, run: Any, monkeypatch: Any
) -> None:
    made = store()
    made.add_facts({"id": key, "source_url": f"https://a.test/{key}" + "x" * (key % 5) * 900} for key in range(1, 51))
    if broken:
        made.execute("UPDATE am_entity_facts SET source_url = CAST(x'c328' AS TEXT) WHERE id = 20")
    monkeypatch.setattr(runner, "_MOST_BATCH_TEXT", 9_000)
    if mode == "signed":
        monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", "11" * 32)
    batches = []
    check_schema = SqliteSession.check_schema
    monkeypatch.setattr(SqliteSession, "check_schema", lambda session: batches.append(check_schema(session)))

    report = run(settings(made), dry_run=mode == "dry run")

    assert (report["rows"]["inserted"], report["rows"]["rejected"]) == (50 - broken, int(broken))
    assert len(batches) > 4
    if mode != "dry run":
        logged = sorted(int(row[0]) for row in made.log())
        assert logged == [key for key in range(1, 51) if not (broken and key == 20)]


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("has_metadata", [False, True])
def test_an_empty_blob_is_a_source_that_is_no_text(
    store: Any, settings: Any, run: Any, has_metadata: bool, dry_run: bool
) -> None:
    made = store()
    made.add_fact(1, source_url=b"")
    if has_metadata:
        made.add_metadata("1", None)
    report = run(settings(made), dry_run=dry_run)
    assert report["rejects"] == {"source_not_text": 1}


def test_what_a_stale_batch_has_staged_is_not_written_later(
    store: Any, settings: Any, run: Any, monkeypatch: Any
) -> None:
    """The application attests a fact between reading and writing; the batch is read again and written once."""
    made = store()
    made.add_facts({"id": key, "source_url": "https://a.test/"} for key in range(1, 9))
    prepare, overtaken = Preparation.prepare, []

    def overtake(preparation: Any, *given: Any) -> Any:
        if not overtaken:
            overtaken.append(made.add_metadata("3", "https://theirs.test/"))
        return prepare(preparation, *given)

    monkeypatch.setattr(Preparation, "prepare", overtake)
    report = run(settings(made, small=True))
    assert report["rows"]["inserted"] == 7
    assert made.metadata()["3"]["source_doc"] == "https://theirs.test/"
    logged = made.execute("SELECT fact_id FROM am_fact_attestation_log ORDER BY fact_id")
    assert logged == [(key,) for key in "1245678"]
