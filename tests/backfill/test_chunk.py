"""The batch loop end to end: what it writes, against a slow derivation of its own, and what it does when disturbed.

`Expectation` states the rules of the derivation once more, as plainly as possible and sharing no code with the
project. Every store here, the sample with its warts and random ones, has to come out as it says.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
import string
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import apsw
import pytest
from nacl.bindings import crypto_sign
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from tasks.attestation.fast import batch_signing
from tasks.attestation.fast.batch_signing import CompiledSigner
from tasks.backfill import dry_run as chunk_module
from tasks.backfill.attempt import run_chunk
from tasks.backfill.plan_backfill import plan_backfill
from tasks.core import crash_points, durable
from tasks.core.clock import now_text
from tasks.core.errors import DatabaseError, ProvenanceError, SchemaChangedError, SignerError, StateError
from tasks.runs.frozen_plans import read_plan
from tasks.runs.loop import MAX_STALE_READS
from tasks.runs.markers import all_chunks_done, chunk_is_done
from tasks.sample.database import build_sample
from tasks.stores.sqlite.session import open_session

CREATED_AT = f"{now_text()[:10]}T00:00:00.000Z"
ATTESTER = "etl_prov_backfill_v2"
KEY_VARIABLE = "AUTONOMATH_FACT_SIGN_PRIVATE_KEY"
KEY_NAME = "provenance-backfill/sample"
UNTYPED = "id UNIQUE"


@pytest.fixture(autouse=True)
def _few_facts_are_read_for_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a dry run of these small stores counts most facts without reading them, as that of a large one does."""
    monkeypatch.setattr(chunk_module, "READ_FOR_SAMPLE", 2)


# -- the rules once more, slowly -----------------------------------------------------------------------


class Broken(bytes):
    """Text that is not UTF-8."""


class Rejected(Exception):
    """Why a fact cannot be attested."""


def text_or_broken(kind: str, value: Any) -> Any:
    if kind != "text":
        return value
    try:
        return bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        return Broken(value)


def is_blank(value: Any) -> bool:
    """Of the texts that these stores hold: a NUL shows as little as white space does."""
    return value is None or (isinstance(value, str) and not value.strip("\0" + string.whitespace + "\u3000"))


def expected_time(value: Any) -> str:
    if value is None:
        return CREATED_AT
    pattern = r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:\d\d)?)?"
    match = re.fullmatch(pattern, value, re.ASCII) if isinstance(value, str) else None
    if match is None:
        raise Rejected("created_at_unparseable")
    day, minute, second, fraction, zone = match.groups()
    try:
        moment = datetime.strptime(f"{day} {minute or '00:00'}:{second or '00'}", "%Y-%m-%d %H:%M:%S")
        moment = moment.replace(tzinfo=timezone.utc, microsecond=int((fraction or "0")[:3].ljust(3, "0")) * 1000)
        if zone and zone != "Z":
            if int(zone[1:3]) > 23 or int(zone[4:]) > 59:
                raise ValueError(zone)
            ahead = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:]))
            moment = moment - ahead if zone[0] == "+" else moment + ahead
    except (ValueError, OverflowError):
        raise Rejected("created_at_unparseable") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%S.").rjust(20, "0") + f"{moment.microsecond // 1000:03d}Z"


def expected_band(value: Any) -> tuple[float | None, float | None]:
    if isinstance(value, str):
        try:
            value = (
                float(value)
                if re.fullmatch(r"[\s\d.eE+-]+|\s*[+-]?(nan|inf|infinity)\s*", value, re.A | re.I)
                else None
            )
        except ValueError:
            value = None
    if not isinstance(value, (int, float)):
        return None, None
    if math.isnan(value) or not 0 <= value <= 1:
        raise Rejected("confidence_out_of_range")
    return max(0.0, value - 0.05), min(1.0, value + 0.05)


def expected_source(fact: dict[str, Any]) -> Any:
    return next((v for v in (fact["own_url"], fact["linked_url"]) if not is_blank(v)), None)


def expected_record(fact: dict[str, Any]) -> tuple[Any, ...]:
    """(source_doc, extracted_at, lower, upper), or Rejected. Several faults: the first of the documented order."""
    source, reasons = expected_source(fact), []
    record: list[Any] = [source, None, None, None]
    if isinstance(fact["key"], (float, bytes, type(None))) and not isinstance(fact["key"], Broken):
        raise Rejected("key_not_text_or_integer")
    if any(isinstance(v, Broken) for v in (fact["key"], source, fact["created_at"], fact["confidence"])):
        raise Rejected("not_utf8")
    if source is not None and not isinstance(source, str):
        raise Rejected("source_not_text")
    try:
        record[1] = expected_time(fact["created_at"])
    except Rejected as reason:
        reasons.append(str(reason))
    try:
        record[2:] = expected_band(fact["confidence"])
    except Rejected as reason:
        reasons.append(str(reason))
    if reasons:
        raise Rejected(reasons[0])
    return tuple(record)


class Expectation:
    """What a run has to make of a store, worked out before the run, fact by fact."""

    def __init__(self, path: Path) -> None:
        self.old = {row["fact_id"]: row for row in read_table(path, "am_fact_metadata")}
        self.log_before = len(read_table(path, "am_fact_attestation_log"))
        self.new: dict[str, tuple[Any, ...]] = {}
        self.rejects: list[str] = []
        self.rows = dict.fromkeys(("eligible", "inserted", "updated", "unchanged", "rejected"), 0)
        sources: dict[Any, Any] = {}
        for row in read_table(path, "am_source"):
            sources[row["id"]] = row["source_url"]
        for row in read_table(path, "am_entity_facts"):
            linked = sources.get(row["source_id"]) if row["source_id"] is not None else None
            self._settle({**row, "key": row["id"], "own_url": row["source_url"], "linked_url": linked})

    def _settle(self, fact: dict[str, Any]) -> None:
        key = fact["key"]
        old = self.old.get(str(key)) if isinstance(key, (int, str)) else None
        outcome = "inserted" if old is None else "updated"
        if old is not None and (old["source_doc"] is not None or expected_source(fact) is None):
            outcome = "unchanged"
        else:
            try:
                self.new[str(key)] = expected_record(fact)
            except Rejected as reason:
                outcome = "rejected"
                self.rejects.append(str(reason))
        self.rows["eligible"] += 1
        self.rows[outcome] += 1


def read_table(path: Path, table: str) -> list[dict[str, Any]]:
    """Every row as {column: value}, whatever its text holds."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        values = ", ".join(
            f"typeof({n}), CASE typeof({n}) WHEN 'text' THEN CAST({n} AS BLOB) ELSE {n} END" for n in names
        )
        rows = connection.execute(f"SELECT {values} FROM {table}").fetchall()
    return [{name: text_or_broken(row[2 * i], row[2 * i + 1]) for i, name in enumerate(names)} for row in rows]


def assert_as_expected(path: Path, expected: Expectation, report: dict[str, Any], key: str | None) -> None:
    """The tables row by row, the counts, the log, the signatures."""
    assert report["rows"] == expected.rows
    assert report["rejects"] == {r: expected.rejects.count(r) for r in sorted(set(expected.rejects))}
    metadata = {row["fact_id"]: row for row in read_table(path, "am_fact_metadata")}
    assert set(metadata) == set(expected.old) | set(expected.new)
    for fact_id, row in metadata.items():
        if fact_id not in expected.new:
            assert row == expected.old[fact_id], fact_id
            continue
        found = (row["source_doc"], row["extracted_at"], row["confidence_lower"], row["confidence_upper"])
        assert found == expected.new[fact_id], fact_id
        assert row["verified_by"] == ATTESTER
        if fact_id in expected.old:
            assert row["created_at"] == expected.old[fact_id]["created_at"]
            assert row["updated_at"] > expected.old[fact_id]["updated_at"]
            assert row["notes"] == expected.old[fact_id]["notes"]
        assert_signed(row, key)
    log = read_table(path, "am_fact_attestation_log")[expected.log_before :]
    assert sorted(row["fact_id"] for row in log) == sorted(expected.new)
    for row in log:
        blob = metadata[row["fact_id"]]["ed25519_sig"]
        assert row["signature_hex"] == (blob[8:72] if len(blob) == 80 else blob).hex()
        assert row["attester"] == ATTESTER
    assert len(read_table(path, "am_backfill_reject")) == len(expected.rejects)


def assert_signed(row: dict[str, Any], key: str | None) -> None:
    """The signature column against PyNaCl's verifier and the payload written down as the design says."""
    blob = row["ed25519_sig"]
    if key is None:
        assert blob == bytes(64)
        return
    names = ("confidence_lower", "confidence_upper", "extracted_at", "fact_id", "source_doc", "verified_by")
    payload = json.dumps({n: row[n] for n in names}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    public = SigningKey(bytes.fromhex(key)).verify_key
    assert blob[:8] == b"\x01" + bytes(7)
    assert blob[72:] == hashlib.sha256(KEY_NAME.encode() + b"\n\x01" + bytes(public)).digest()[:8]
    public.verify(payload.encode(), blob[8:72])
    with pytest.raises(BadSignatureError):
        public.verify(payload.encode() + b" ", blob[8:72])


# -- the sample, wart by wart --------------------------------------------------------------------------


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_the_sample_with_all_its_warts_comes_out_as_an_independent_derivation_says(
    tmp_path: Path, settings: Any, run: Any, dump: Any, monkeypatch: pytest.MonkeyPatch, signed: bool
) -> None:
    path = tmp_path / "sample.db"
    summary = build_sample(path, facts=1200)
    key = "5e" * 32 if signed else None
    if key:
        monkeypatch.setenv(KEY_VARIABLE, key)
    expected = Expectation(path)
    assert {**expected.rows, "rejects": {r: expected.rejects.count(r) for r in sorted(set(expected.rejects))}} == (
        summary.expected
    )
    config = settings(FileStore(path), pacing={"chunk_rows": 300, "batch_rows": 110})
    before = dump(path)
    dry = run(config, dry_run=True)
    assert dump(path) == before
    assert dry["rows"] == expected.rows
    report = run(config)
    predicted = report["dry_run"]
    assert (predicted["rows"], predicted["rejects"], predicted["matches"]) == (dry["rows"], dry["rejects"], True)
    assert_as_expected(path, expected, report, key)
    assert report["remaining"] == expected.rows["rejected"]
    assert report["signatures"]["signed" if signed else "placeholder"] == len(expected.new)


class FileStore:
    """As much of a store as the settings fixture needs."""

    def __init__(self, path: Path) -> None:
        self.path = path


# -- random stores -------------------------------------------------------------------------------------


def random_store(store: Any, seed: int) -> Any:
    """A store of odd values only, the same for the same seed."""
    dice = random.Random(seed)
    untyped = seed % 3 == 0
    mutations = [lambda schema: schema.change_column("am_entity_facts", "id", UNTYPED)] if untyped else []
    if seed % 3 == 1:
        mutations.append(lambda schema: schema.change_column("am_entity_facts", "id", "id TEXT PRIMARY KEY"))
    if seed % 4 == 0:
        for column in ("source_url", "confidence", "created_at"):
            mutations.append(lambda schema, c=column: schema.change_column("am_entity_facts", c, c))
    made = store(*mutations, name=f"random-{seed}.db", journal_mode=dice.choice(["wal", "delete"]))
    count = dice.randrange(1, 60)
    keys: list[Any] = dice.sample(range(-50, 5000), count)
    if untyped:
        keys += [None, None, 1.5, -1e300, b"", b"\x00\xff", "x", "é\0", "1e3"][: dice.randrange(10)]
    elif seed % 3 == 1:
        keys = [f"事実-{k}" for k in keys] + [b"blob", "", " "]
    urls = [
        None,
        None,
        "",
        "  ",
        "\u3000",
        "https://a.test/?q=補助金|<x>&",
        " https://b.test ",
        b"https://c",
        7,
        0.5,
        "\0",
        "'",
    ]
    times = [None, "2026-05-12", "2026-05-12 01:23", "2026-05-12T01:23:45.6789Z", "2026-05-12T01:23:45+09:00", "now",
             "0001-01-01 00:00+00:01", "9999-12-31T23:59:59.999999-00:01", "", "2026-02-29", "2024-02-29", 1747000000,
             b"2026-05-12", "2026-05-12T24:00", " 2026-05-12", "2026-05-12\n", "٢٠٢٦-05-12", 2460000.5]  # fmt: skip
    confidences = [None, 0, 1, 0.5, 0.97, 0.02, "0.75", "high", "", " 0.5 ", "1e-1", "nan", "-inf", -0.0, 1.0000001,
                   -1e-9, 2, b"0.5", "0x1", "1_0", "½", float("inf")]  # fmt: skip
    for source in range(1, 9):
        made.add_source(source, f"https://source.test/{source}" if source < 7 else " " * source)
    made.add_facts(
        {"id": key, "source_id": dice.choice([None, dice.randrange(1, 12)]), "source_url": dice.choice(urls),
         "created_at": dice.choice(times), "confidence": dice.choice(confidences)}
        for key in dice.sample(keys, len(keys))
    )  # fmt: skip
    for key in dice.sample(keys, len(keys) // 3):
        if isinstance(key, (int, str)):
            made.add_metadata(str(key), dice.choice([None, None, "https://old.test/"]), notes=dice.choice([None, "n"]),
                              updated_at="2026-01-01T00:00:00.000Z")  # fmt: skip
    made.execute("UPDATE am_entity_facts SET created_at = CAST(x'ff' AS TEXT) WHERE rowid % 17 = 3")
    made.execute("UPDATE am_entity_facts SET source_url = CAST(x'68ff' AS TEXT) WHERE rowid % 19 = 3")
    return made


@pytest.mark.parametrize("seed", range(18))
def test_random_stores_come_out_as_expected_and_the_dry_run_knew_it_to_the_row(
    store: Any, settings: Any, run: Any, signing_key: str, seed: int
) -> None:
    made = random_store(store, seed)
    dice = random.Random(seed)
    config = settings(made, pacing={"chunk_rows": dice.choice([7, 40, 1000]), "batch_rows": dice.choice([3, 11, 1000])})
    expected = Expectation(made.path)
    dry = run(config, dry_run=True)
    assert dry["rows"] == expected.rows
    report = run(config)
    assert report["dry_run"]["matches"] is True
    assert_as_expected(made.path, expected, report, signing_key)
    again = run(config, "run-2")
    assert again["rows"]["inserted"] == again["rows"]["updated"] == 0
    assert len(made.log()) == len(expected.new)


# -- keys ----------------------------------------------------------------------------------------------


def test_a_key_that_is_no_text_or_integer_is_rejected_and_never_skipped_in_silence(
    store: Any, settings: Any, run: Any
) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", UNTYPED))
    made.add_facts([{"id": key} for key in (None, None, 1.5, b"\x00\xff", b"", 7, "seven")])
    config = settings(made, small=True)
    run(config, dry_run=True)
    report = run(config)
    assert report["dry_run"]["matches"] is True
    assert report["rows"] == {"eligible": 7, "inserted": 2, "updated": 0, "unchanged": 0, "rejected": 5}
    assert report["rejects"] == {"key_not_text_or_integer": 5}
    assert sorted(made.rejects()) == sorted(
        (name, "key_not_text_or_integer") for name in ("NULL", "NULL", "1.5", "x'00ff'", "x''")
    )
    assert set(made.metadata()) == {"7", "seven"}


def test_a_primary_key_that_only_looks_like_the_rowid_may_hold_null_as_well(
    store: Any, settings: Any, run: Any
) -> None:
    """INTEGER PRIMARY KEY DESC is no alias of the rowid: https://sqlite.org/lang_createtable.html#rowids."""
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", "id INTEGER PRIMARY KEY DESC"))
    made.add_facts([{"id": None}, {"id": 5}, {"id": "x"}, {"id": 1.5}])
    report = run(settings(made))
    assert report["rows"] == {"eligible": 4, "inserted": 2, "updated": 0, "unchanged": 0, "rejected": 2}


def test_a_text_key_that_is_not_utf8_is_a_rejected_fact(store: Any, settings: Any, run: Any) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", "id TEXT PRIMARY KEY"))
    made.add_facts([{"id": "a"}, {"id": "z"}])
    made.execute("INSERT INTO am_entity_facts (id, entity_id, field_name) VALUES (CAST(x'6bff' AS TEXT), 'e', 'f')")
    report = run(settings(made, pacing={"batch_rows": 1, "chunk_rows": 1}))
    assert (report["rows"]["inserted"], report["rejects"]) == (2, {"not_utf8": 1})
    assert made.rejects() == [("k\\xff", "not_utf8")]


@pytest.mark.parametrize("batch_rows", [2, 100])
@pytest.mark.parametrize("is_signed", [True, False])
@pytest.mark.parametrize(
    "mutate",
    [
        lambda schema: schema.change_column("am_entity_facts", "id", UNTYPED),
        lambda schema: schema.change_column("am_entity_facts", "id", "id ANY PRIMARY KEY").table_option(
            "am_entity_facts", "STRICT"
        ),
    ],
)
def test_a_text_key_that_reads_like_the_integer_of_another_fact_is_rejected_in_every_mode(
    store: Any, settings: Any, run: Any, request: Any, batch_rows: int, mutate: Any, is_signed: bool
) -> None:
    if is_signed:
        request.getfixturevalue("signing_key")
    made = store(mutate)
    made.add_facts([*({"id": key, "source_url": "https://a.test/"} for key in range(9)), {"id": "1"}, {"id": "x"}])
    config = settings(made, pacing={"batch_rows": batch_rows, "chunk_rows": 4})
    run(config, dry_run=True)
    report = run(config)
    assert made.count("am_fact_metadata") == len(made.log()) == 10
    assert report["dry_run"]["matches"] is True
    again = run(config, "run-2")
    for found, inserted in ((report, 10), (again, 0)):
        expected = {"inserted": inserted, "updated": 0, "unchanged": 10 - inserted, "rejected": 1}
        assert found["rows"] == {"eligible": 11, **expected}
        assert (found["rejects"], found["remaining"]) == ({"key_reads_like_another": 1}, 1)
    details = made.execute("SELECT DISTINCT fact_id, detail FROM am_backfill_reject")
    assert details == [("1", "key: '1' (another fact has the integer for its key)")]


def test_a_text_key_that_reads_like_another_does_not_use_up_the_budget_every_day(
    store: Any, settings: Any, run: Any
) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", UNTYPED))
    made.add_facts({"id": key} for key in (1, 2, "1", "2", "x", "y"))
    config = settings(made)
    written = [run(config, f"run-{day}", max_rows=2)["rows"]["inserted"] for day in range(1, 6)]
    assert sum(written) == made.count("am_fact_metadata") == 4


def test_two_keys_of_one_text_are_updated_once(store: Any, settings: Any, run: Any) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", UNTYPED))
    made.add_facts(
        [{"id": 1, "source_url": "https://a.test/", "confidence": 0.5}, {"id": "1", "source_url": "https://a.test/"}]
    )
    made.add_metadata("1")
    report = run(settings(made))
    assert (report["rows"]["updated"], report["rows"]["rejected"], len(made.log())) == (1, 1, 1)
    assert report["created_at_missing"] == 1  # counted among what is written


def test_sparse_facts_do_not_make_a_batch_smaller(store: Any, settings: Any, run: Any) -> None:
    made = store()
    made.add_facts({"id": key * 1_000_003} for key in range(-6, 6))
    for key in range(-6, 6, 2):
        made.add_metadata(str(key * 1_000_003), "https://old.test/")
    report = run(settings(made, small=True))
    assert report["rows"] == {"eligible": 12, "inserted": 6, "updated": 0, "unchanged": 6, "rejected": 0}


# -- disturbances --------------------------------------------------------------------------------------


@pytest.fixture
def ready(store: Any, settings: Any, paths: Any) -> Any:
    """(store, settings, paths, plan) of a planned run over 25 facts with a source, in chunks of 10, batches of 4."""
    made = store()
    made.add_source(1, "https://a.test/")
    made.add_facts({"id": key, "source_id": 1, "confidence": 0.5} for key in range(1, 26))
    config = settings(made, small=True)
    return made, config, paths(config), plan_backfill(config, paths(config), max_rows=None, created_at=CREATED_AT)


def attempt(config: Any, paths: Any, chunk: int) -> list[int]:
    """Run one chunk; gives the progress that was told."""
    told: list[int] = []
    run_chunk(config, paths, chunk, progress=lambda progress: told.append(progress.settled))
    return told


def ledger(store: Any, chunk: int) -> dict[str, Any]:
    return next(row for row in read_table(store.path, "am_backfill_chunk") if row["chunk"] == chunk)


class Stop(Exception):
    """Stands for whatever ends a process."""


def stop_at(monkeypatch: pytest.MonkeyPatch, point: str, *, after: int) -> None:
    """Raise Stop at the named point, once it was passed `after` times."""
    passed = [0]

    def reach(name: str) -> None:
        passed[0] += name == point
        if name == point and passed[0] > after:
            raise Stop

    monkeypatch.setattr(crash_points, "reach", reach)


@pytest.mark.parametrize(
    ("point", "after", "written"),
    [("before the write lock", 1, 4), ("before commit", 1, 4), ("after commit", 1, 8), ("before commit", 0, 0)],
)
def test_a_chunk_that_stopped_in_the_middle_goes_on_from_its_cursor(
    ready: Any, monkeypatch: pytest.MonkeyPatch, point: str, after: int, written: int
) -> None:
    made, config, paths, plan = ready
    with monkeypatch.context() as patch:
        stop_at(patch, point, after=after)
        with pytest.raises(Stop):
            attempt(config, paths, 2)
    assert made.count("am_fact_metadata") == len(made.log()) == written
    row = ledger(made, 2)
    assert (row["state"], row["cursor"], row["inserted"]) == ("running", 10 + written, written)
    assert not paths.marker(2).exists()
    told = attempt(config, paths, 2)
    assert told[0] > written
    row = ledger(made, 2)
    assert (row["state"], row["cursor"], row["inserted"], row["attempts"]) == ("done", 20, 10, 2)
    assert sorted(fact_id for fact_id, _, _ in made.log()) == sorted(str(key) for key in range(11, 21))
    marker = durable.read_json(paths.marker(2), root=paths.state_dir)
    assert marker is not None
    assert (marker["rows"]["inserted"], marker["attempts"], marker["plan_id"]) == (10, 2, plan.plan_id)


def test_a_marker_that_was_lost_is_written_again_from_the_ledger_without_a_write_to_the_facts(
    ready: Any, monkeypatch: pytest.MonkeyPatch, dump: Any
) -> None:
    made, config, paths, _ = ready
    with monkeypatch.context() as patch:
        stop_at(patch, "after the last commit, before the marker", after=0)
        with pytest.raises(Stop):
            attempt(config, paths, 1)
    assert not paths.marker(1).exists()
    before = dump(made.path)
    attempt(config, paths, 1)
    first = paths.marker(1).read_bytes()
    paths.marker(1).write_text("torn", encoding="utf-8")
    attempt(config, paths, 1)
    assert paths.marker(1).read_bytes() == first
    assert dump(made.path) == before


def test_a_marker_of_another_plan_is_neither_believed_nor_overwritten(ready: Any, paths: Any) -> None:
    _, config, where, _ = ready
    attempt(config, where, 1)
    other = paths(config, "run-2")
    plan = plan_backfill(config, other, max_rows=None, created_at=now_text())
    other.marker(1).parent.mkdir(parents=True)
    other.marker(1).write_bytes(where.marker(1).read_bytes())
    for question in (lambda: chunk_is_done(config, other, 1), lambda: all_chunks_done(config, plan, other)):
        with pytest.raises(StateError, match=r"marker .*chunk-000001\.json belongs to plan .* Use a new --run-id"):
            question()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"plan_id": "x"}', '{"plan_id": "x", "chunk": 2}'])
def test_a_torn_marker_counts_as_none(ready: Any, content: str) -> None:
    _, config, where, _ = ready
    attempt(config, where, 1)
    assert chunk_is_done(config, where, 1) is True
    where.marker(1).write_text(content, encoding="utf-8")
    assert chunk_is_done(config, where, 1) is False


def test_chunks_may_run_in_any_order_and_again(ready: Any, dump: Any) -> None:
    made, config, paths, _ = ready
    for chunk in (3, 1, 2, 1, 3):
        attempt(config, paths, chunk)
    assert len(made.log()) == made.count("am_fact_metadata") == 25


@pytest.mark.parametrize("change", [
    "INSERT INTO am_fact_metadata (fact_id, source_doc, ed25519_sig) VALUES ('2', 'https://other.test/', zeroblob(64))",
    "UPDATE am_fact_metadata SET source_doc = 'https://other.test/' WHERE fact_id = '3'",
])  # fmt: skip
def test_a_row_that_another_writer_was_faster_with_is_read_again_and_neither_written_nor_logged(
    ready: Any, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    made, config, paths, _ = ready
    made.add_metadata("3")
    overtaken: list[str] = []

    def reach(name: str) -> None:
        if name == "before the write lock" and not overtaken:
            overtaken.append(name)
            made.execute(change)

    monkeypatch.setattr(crash_points, "reach", reach)
    attempt(config, paths, 1)
    row = ledger(made, 1)
    other = "2" if "INSERT" in change else "3"
    assert (row["eligible"], row["inserted"] + row["updated"], row["unchanged"], row["attempts"]) == (10, 9, 1, 1)
    assert made.metadata()[other]["source_doc"] == "https://other.test/"
    assert other not in {fact_id for fact_id, _, _ in made.log()}
    assert len(made.log()) == 9


def test_another_worker_on_the_same_chunk_takes_turns_and_nothing_is_written_twice(
    ready: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, config, paths, _ = ready
    inside: list[str] = []

    def reach(name: str) -> None:
        if name == "before the write lock" and len(inside) < 1:
            inside.append(name)
            attempt(config, paths, 1)  # the other worker, from start to end

    monkeypatch.setattr(crash_points, "reach", reach)
    attempt(config, paths, 1)
    row = ledger(made, 1)
    assert (row["state"], row["inserted"], row["eligible"]) == ("done", 10, 10)
    assert len(made.log()) == 10


def test_a_chunk_that_is_overtaken_forever_stops_with_its_cursor(ready: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made, config, paths, _ = ready

    def reach(name: str) -> None:
        if name == "before the write lock":
            made.execute("UPDATE am_backfill_chunk SET cursor = cursor - 0.5 WHERE chunk = 2")

    attempt(config, paths, 1)
    monkeypatch.setattr(crash_points, "reach", reach)
    with pytest.raises(DatabaseError, match=rf"{MAX_STALE_READS + 1} reads in a row were overtaken .* It stopped at"):
        attempt(config, paths, 2)
    assert len(made.log()) == 10


def test_a_fact_that_vanishes_or_appears_between_planning_and_running_is_counted_as_it_is(ready: Any, run: Any) -> None:
    made, config, _, _ = ready
    made.execute("DELETE FROM am_entity_facts WHERE id IN (3, 10, 25)")
    made.execute("UPDATE am_entity_facts SET id = 10 WHERE id = 11")
    made.add_facts([{"id": 0}, {"id": 99}])
    report = run(config)
    assert report["rows"]["inserted"] == report["rows"]["eligible"] == 23  # 0 lies in the first chunk, 99 in none
    assert (report["remaining"], report["closing"]["remaining_beyond_this_run"]) == (1, 1)


def test_a_schema_that_changes_while_a_chunk_runs_stops_it_with_its_cursor_kept(
    ready: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, config, paths, _ = ready

    def reach(name: str) -> None:
        if name == "after commit":
            made.execute("ALTER TABLE am_source ADD COLUMN another")

    with monkeypatch.context() as patch:
        patch.setattr(crash_points, "reach", reach)
        with pytest.raises(SchemaChangedError) as caught:
            attempt(config, paths, 1)
    message = str(caught.value)
    assert message.startswith("chunk 1 (start, 10]: ")
    assert "It stopped at 4 with 4 rows written; run the same command again" in message
    assert ledger(made, 1)["cursor"] == 4
    attempt(config, paths, 1)
    assert len(made.log()) == 10


def test_a_schema_that_changes_after_the_read_is_noticed_under_the_lock_and_nothing_is_written(
    ready: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, config, paths, _ = ready

    def reach(name: str) -> None:
        if name == "before the write lock":
            made.execute("ALTER TABLE am_source ADD COLUMN another")

    monkeypatch.setattr(crash_points, "reach", reach)
    with pytest.raises(SchemaChangedError):
        attempt(config, paths, 1)
    assert made.count("am_fact_metadata") == len(made.log()) == 0


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_column_that_went_since_the_plan_was_made_stops_the_run_instead_of_changing_what_is_attested(
    ready: Any, paths: Any, dry_run: bool
) -> None:
    made, config, _, _ = ready
    made.execute("ALTER TABLE am_entity_facts DROP COLUMN confidence")
    with pytest.raises(StateError, match=r"was planned on another schema.* no column \"confidence\".*new --run-id"):
        attempt(config, paths(config, dry_run=dry_run), 1)
    assert made.count("am_fact_metadata") == 0


# -- the key -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [("5e" * 32, None), (None, "6f" * 32)])
def test_a_run_is_signed_from_start_to_end_or_not_at_all(
    ready: Any, monkeypatch: pytest.MonkeyPatch, first: str | None, second: str | None
) -> None:
    made, config, paths, _ = ready

    def use(key: str | None) -> None:
        monkeypatch.setenv(KEY_VARIABLE, key) if key else monkeypatch.delenv(KEY_VARIABLE, raising=False)

    use(first)
    attempt(config, paths, 1)
    use(second)
    with pytest.raises(StateError, match=r"was started with .*signing key.*, now there is .*signing key") as caught:
        attempt(config, paths, 2)
    assert "Nothing was written." in str(caught.value)
    assert not any(key in str(caught.value) for key in (first, second) if key)
    assert len(made.log()) == 10
    use(first)
    attempt(config, paths, 2)
    assert len(made.log()) == 20


@pytest.mark.parametrize("key", ["", "5e" * 31, "5e" * 33, "zz" * 32, " " + "5e" * 32])
def test_a_key_that_is_configured_but_wrong_stops_the_run_before_the_first_write(
    ready: Any, monkeypatch: pytest.MonkeyPatch, dump: Any, key: str
) -> None:
    made, config, paths, _ = ready
    before = dump(made.path)
    monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(ProvenanceError, match=r"signing key: AUTONOMATH_FACT_SIGN_PRIVATE_KEY .*Nothing was written"):
        attempt(config, paths, 1)
    assert dump(made.path) == before


def test_a_key_that_is_required_and_not_there_stops_the_run(ready: Any, settings: Any, dump: Any) -> None:
    made, _, paths, _ = ready
    config = settings(made, small=True, signing={"required": True})
    before = dump(made.path)
    with pytest.raises(
        ProvenanceError, match=r"signing\.required is true in .*\.yaml, but AUTONOMATH_FACT_SIGN_PRIVATE_KEY"
    ):
        attempt(config, paths, 1)
    assert dump(made.path) == before


def test_a_compiled_signer_that_goes_wrong_stops_the_chunk_before_the_batch_is_written(
    ready: Any, settings: Any, signing_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, config, paths, _ = ready
    batches = [0]

    def sign(secret_key: bytes, payloads: Sequence[bytes]) -> list[bytes]:
        batches[0] += 1
        right = [crypto_sign(payload, secret_key)[:64] for payload in payloads]
        return right if batches[0] < 3 else [bytes(64) for _ in payloads]

    monkeypatch.setattr(batch_signing, "compiled_signer", CompiledSigner("lying", sign))
    with pytest.raises(
        SignerError, match=r"chunk 1 .*PyNaCl .*signing\.compiled: false .*stopped at 8 with 8 rows written"
    ):
        attempt(config, paths, 1)
    assert made.count("am_fact_metadata") == len(made.log()) == 8
    without = settings(made, small=True, signing={"compiled": False})
    attempt(without, paths, 1)
    for row in read_table(made.path, "am_fact_metadata"):
        assert_signed(row, signing_key)
    assert made.count("am_fact_metadata") == len(made.log()) == 10


# -- plan and ledger -----------------------------------------------------------------------------------


def test_a_ledger_of_another_plan_is_refused(ready: Any, paths: Any) -> None:
    made, config, _, plan = ready
    made.insert("am_backfill_run", [{"run_id": "run-1", "plan_id": "f" * 64, "plan": "{}", "started_at": CREATED_AT,
                                     "attester": "x", "host": "x", "pid": 1}])  # fmt: skip
    with pytest.raises(StateError, match=rf"run-1 has the plan ffffffffffff… in the ledger .* {plan.plan_id[:12]}…"):
        attempt(config, paths(config), 1)
    assert made.count("am_fact_metadata") == 0


def test_a_chunk_without_a_plan_is_refused(store: Any, settings: Any, paths: Any) -> None:
    config = settings(store())
    assert read_plan(paths(config), config) is None
    with pytest.raises(StateError, match="the plan is missing or torn"):
        attempt(config, paths(config), 1)


def test_the_ledger_tells_who_worked_on_a_chunk_and_how_long(ready: Any) -> None:
    made, config, paths, plan = ready
    attempt(config, paths, 3)
    row = ledger(made, 3)
    assert (row["plan_id"], row["after_key"], row["through_key"], row["placeholder"]) == (plan.plan_id, 20, 25, 5)
    assert row["host"]
    assert row["pid"] > 0
    assert row["started_at"] <= row["updated_at"] == row["finished_at"]
    assert 0 < row["seconds"] < 60


# -- the dry run ---------------------------------------------------------------------------------------


def test_a_dry_run_leaves_the_database_file_as_it_is_to_the_byte(store: Any, settings: Any, run: Any) -> None:
    made = store(journal_mode="delete")
    made.add_facts({"id": key} for key in range(25))
    before = made.path.read_bytes()
    run(settings(made, small=True), dry_run=True)
    assert made.path.read_bytes() == before


def test_a_dry_run_shows_rows_as_they_are_and_as_they_would_be(store: Any, settings: Any, run: Any) -> None:
    made = store()
    made.add_facts([{"id": 1, "source_url": "https://a.test/", "confidence": 0.5}, {"id": 2}])
    made.add_metadata("1")
    sample = run(settings(made), dry_run=True)["sample"]
    assert [row["outcome"] for row in sample] == ["updated", "inserted"]
    assert sample[0]["old"]["source_doc"] is None
    assert sample[0]["new"]["source_doc"] == "https://a.test/"
    assert sample[0]["new"]["confidence_lower"] == 0.45
    assert sample[1]["old"] is None


@pytest.mark.parametrize("column", ["extracted_at", "verified_by", "confidence_lower"])
@pytest.mark.parametrize("value", [b"\x00", "not UTF-8"])
def test_odd_values_in_an_old_metadata_row_do_not_break_the_dry_run(
    store: Any, settings: Any, run: Any, column: str, value: Any
) -> None:
    made = store(lambda schema: schema.replace("am_fact_metadata", "confidence_lower IS NULL OR ", "1 OR "))
    made.add_fact(1, source_url="https://a.test/")
    made.add_metadata("1")
    if value == b"\x00":
        made.execute(f"UPDATE am_fact_metadata SET {column} = x'00'")
    else:
        made.execute(f"UPDATE am_fact_metadata SET {column} = CAST(x'ff' AS TEXT)")
    config = settings(made)
    run(config, dry_run=True)
    assert run(config)["dry_run"]["matches"] is True


def test_a_session_that_may_not_write_cannot(ready: Any) -> None:
    made, config, _, _ = ready
    with open_session(config, write=False) as session, pytest.raises(ProvenanceError):
        session.open_run(run_id="x", kind="backfill", plan_id="x", plan="{}", now="x", attester="x", key_id=None)
    assert made.count("am_backfill_run") == 0
