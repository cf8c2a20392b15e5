"""The generated facts: their shape, their warts, their sameness."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw
import pytest

from tasks.core.errors import SampleError
from tasks.core.fact_keys import decoded
from tasks.core.values import Fact, Reject
from tasks.derivation.rules import Rules, derive, stays_unchanged
from tasks.sample.database import SampleSummary, build_sample
from tasks.sample.warts import LEGACY_ATTESTER, WARTS, WartPlan

FACTS = 2000
LINKED = "source_id IN (SELECT id FROM am_source)"
METADATA = "CAST(id AS TEXT) IN (SELECT fact_id FROM am_fact_metadata WHERE source_doc IS {})"

# How each wart looks from outside, written down once more and independently of the code.
FOUND_BY = {
    "created_at_date": "created_at GLOB '????-??-??' AND created_at <> '2026-02-30'",
    "created_at_minutes": "created_at GLOB '????-??-?? ??:??' AND created_at NOT LIKE '%24:00'",
    "created_at_t_minutes": "created_at GLOB '????-??-??T??:??'",
    "created_at_t_seconds": "created_at GLOB '????-??-??T??:??:??'",
    "created_at_z": "created_at GLOB '????-??-??T??:??:??Z'",
    "created_at_z_millis": "created_at GLOB '????-??-??T??:??:??.???Z'",
    "created_at_offset_east": "created_at LIKE '%+09:00'",
    "created_at_offset_west": "created_at LIKE '%-03:30'",
    "created_at_long_fraction": "created_at GLOB '????-??-?? ??:??:??.?????????'",
    "created_at_null": "created_at IS NULL",
    "created_at_now": "created_at = 'now'",
    "created_at_bare_number": "created_at = '2460000.5'",
    "created_at_empty": "created_at = ''",
    "created_at_no_such_day": "created_at = '2026-02-30'",
    "created_at_hour_24": "created_at GLOB '????-??-?? 24:00'",
    "confidence_null": "confidence IS NULL",
    "confidence_number_as_text": "confidence = 0.75 AND typeof(confidence) = 'real'"
    " AND id NOT IN (SELECT id FROM clean.am_entity_facts WHERE confidence = 0.75)",
    "confidence_text": "confidence = 'high'",
    "confidence_zero": "confidence = 0.0",
    "confidence_one": "confidence = 1.0",
    "confidence_above_one": "confidence = 1.5",
    "confidence_negative": "confidence = -0.1",
    "confidence_infinite": "confidence = 9e999",
    "source_url_spaces_with_source": f"source_url = '   ' AND {LINKED}",
    "source_url_spaces_alone": "source_url = '   ' AND source_id IS NULL",
    "source_url_wide_space_with_source": f"source_url = char(0x3000) AND {LINKED}",
    "source_url_wide_space_alone": "source_url = char(0x3000) AND source_id IS NULL",
    "source_id_dangling": f"NOT {LINKED} AND source_url IS NULL",
    "source_url_blob": "typeof(source_url) = 'blob'",
    "source_url_not_utf8": "typeof(source_url) = 'text' AND hex(source_url) LIKE 'FFFE%'",
    "created_at_not_utf8": "typeof(created_at) = 'text' AND hex(created_at) LIKE 'FFFE%'",
    "source_row_not_utf8": "source_id IN (SELECT id FROM am_source"
    " WHERE typeof(source_url) = 'text' AND hex(source_url) LIKE '%2FFF')",
    "metadata_with_source": METADATA.format("NOT NULL"),
    "metadata_source_now_known": METADATA.format("NULL") + f" AND {LINKED}",
    "metadata_source_still_unknown": METADATA.format("NULL") + " AND source_id IS NULL AND source_url IS NULL",
}


@pytest.fixture(scope="module")
def summary_and_path(tmp_path_factory: pytest.TempPathFactory) -> tuple[SampleSummary, Path]:
    path = tmp_path_factory.mktemp("sample") / "sample.db"
    build_sample(path.with_name("clean.db"), facts=FACTS, warts=False)
    return build_sample(path, facts=FACTS), path


@pytest.fixture
def connection(summary_and_path: tuple[SampleSummary, Path]) -> Iterator[apsw.Connection]:
    path = summary_and_path[1]
    connection = apsw.Connection(str(path))
    connection.execute("ATTACH ? AS clean", (str(path.with_name("clean.db")),))
    yield connection
    connection.close()


def count(connection: apsw.Connection, where: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM am_entity_facts WHERE {where}").get)


def content_digest(path: Path) -> str:
    """SHA-256 over every row of every table, with types, whether or not text is UTF-8."""
    digest = hashlib.sha256()
    connection = apsw.Connection(str(path))
    for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1").fetchall():
        names = [row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]
        values = ", ".join(f'typeof("{name}"), hex("{name}")' for name in names)
        for row in connection.execute(f'SELECT {values} FROM "{table}" ORDER BY rowid'):
            digest.update(repr(row).encode())
    connection.close()
    return digest.hexdigest()


def outcomes(path: Path) -> Counter[str]:
    """What the derivation makes of every fact; rejects under their reason."""
    columns = ("f.id", "f.source_url", "s.source_url", "f.created_at", "f.confidence")
    values = ", ".join(
        f"typeof({c}) = 'text', CASE typeof({c}) WHEN 'text' THEN CAST({c} AS BLOB) ELSE {c} END" for c in columns
    )
    connection = apsw.Connection(str(path))
    found: Counter[str] = Counter()
    rules = Rules(confidence_width=0.05, default_extracted_at="2026-05-12T00:00:00.000Z")
    for *pairs, metadata, source_doc in connection.execute(
        f"SELECT {values}, m.fact_id, m.source_doc FROM am_entity_facts f"
        " LEFT JOIN am_source s ON s.id = f.source_id LEFT JOIN am_fact_metadata m ON m.fact_id = f.id"
    ):
        raw: list[Any] = [decoded(is_text, value) for is_text, value in zip(pairs[::2], pairs[1::2], strict=True)]
        fact = Fact._make([*raw, int(metadata is not None)])
        found[outcome(fact, source_doc, rules)] += 1
    connection.close()
    return found


def outcome(fact: Fact, source_doc: object, rules: Rules) -> str:
    if source_doc is not None or stays_unchanged(fact):
        return "unchanged"
    derived = derive(fact, rules)
    if isinstance(derived, Reject):
        return derived.reason
    return "updated" if fact.has_metadata else "inserted"


@pytest.mark.parametrize("wart", WARTS, ids=lambda wart: wart.name)
def test_each_wart_is_there_as_often_as_the_summary_says(
    connection: apsw.Connection, summary_and_path: tuple[SampleSummary, Path], wart: Any
) -> None:
    promised = summary_and_path[0].warts[wart.name]
    assert promised == FACTS * wart.per_mille // 1000
    assert count(connection, FOUND_BY[wart.name]) == promised


@pytest.mark.parametrize("facts", [1, 20, 34, 35, 36, 37, 300, 2000])
def test_the_expected_numbers_are_what_the_derivation_finds(tmp_path: Path, facts: int) -> None:
    summary = build_sample(tmp_path / "s.db", facts=facts)
    found, expected = outcomes(tmp_path / "s.db"), summary.expected
    rejects = {name: n for name, n in found.items() if name not in ("inserted", "updated", "unchanged")}
    assert summary.facts == facts == expected["eligible"]
    assert [found[name] for name in ("inserted", "updated", "unchanged")] == [
        expected["inserted"],
        expected["updated"],
        expected["unchanged"],
    ]
    assert rejects == expected["rejects"]
    assert sum(rejects.values()) == expected["rejected"]


def test_a_clean_sample_has_no_warts_and_every_fact_is_inserted(tmp_path: Path) -> None:
    summary = build_sample(tmp_path / "s.db", facts=500, warts=False)
    assert sum(summary.warts.values()) == 0
    assert outcomes(tmp_path / "s.db") == {"inserted": 500}


@pytest.mark.parametrize("facts", [35, 1000, 12_345])
def test_warts_never_share_a_fact(facts: int) -> None:
    ordinals = [ordinal for ordinal, _ in WartPlan.of(facts).placed()]
    assert len(set(ordinals)) == len(ordinals) == sum(WartPlan.of(facts).counts)
    assert ordinals == sorted(ordinals)
    assert ordinals[0] >= 0 and ordinals[-1] < facts


def test_every_earlier_metadata_row_has_its_one_unsigned_log_row(connection: apsw.Connection) -> None:
    rows = connection.execute(
        "SELECT m.ed25519_sig = zeroblob(64), m.verified_by, l.attester, l.signature_hex"
        "  FROM am_fact_metadata m LEFT JOIN am_fact_attestation_log l USING (fact_id)"
    ).fetchall()
    assert len(rows) == FACTS * 35 // 1000
    assert set(rows) == {(1, LEGACY_ATTESTER, LEGACY_ATTESTER, "0" * 128)}


@pytest.mark.parametrize("profile", ["clustered", "scattered"])
def test_the_same_arguments_give_the_same_content(tmp_path: Path, profile: str) -> None:
    first, second = tmp_path / "first.db", tmp_path / "second.db"
    summaries = [build_sample(path, facts=700, profile=profile) for path in (first, second)]
    assert summaries[0] == summaries[1]
    assert content_digest(first) == content_digest(second)


def test_the_content_is_the_same_on_every_machine_and_python(tmp_path: Path) -> None:
    build_sample(tmp_path / "s.db", facts=700)
    assert content_digest(tmp_path / "s.db") == "a94c4813ac4f4a80711ceae81f597a8b108629bf22be42c2d9071c1dc7f0722a"


def test_clustered_facts_share_their_entitys_few_sources_and_grow_in_time(tmp_path: Path) -> None:
    build_sample(tmp_path / "s.db", facts=20_000, warts=False)
    connection = apsw.Connection(str(tmp_path / "s.db"))
    entities: list[Any] = connection.execute(
        "SELECT count(*), count(DISTINCT source_id), min(source_id), max(source_id)"
        " FROM am_entity_facts GROUP BY entity_id ORDER BY min(id)"
    ).fetchall()
    rows: list[Any] = connection.execute("SELECT id, created_at FROM am_entity_facts ORDER BY id").fetchall()
    connection.close()
    assert all(20 <= facts <= 60 and 1 <= sources <= 3 for facts, sources, _, _ in entities[:-1])
    assert all(before[3] < after[2] for before, after in pairwise(entities[:-1]))
    times = [created_at for _, created_at in rows]
    assert times == sorted(times)
    assert len(set(times)) < len(times)
    assert rows[-1][0] > len(rows), "ids have gaps"


def test_scattered_facts_take_sources_and_dates_from_the_whole_range(tmp_path: Path) -> None:
    build_sample(tmp_path / "s.db", facts=20_000, profile="scattered", warts=False)
    connection = apsw.Connection(str(tmp_path / "s.db"))
    total = int(connection.execute("SELECT count(*) FROM am_source").get)
    ranges: list[Any] = connection.execute(
        "SELECT max(source_id) - min(source_id), min(created_at), max(created_at)"
        " FROM am_entity_facts GROUP BY entity_id HAVING count(*) >= 20"
    ).fetchall()
    connection.close()
    assert min(span for span, _, _ in ranges) > total / 2
    assert all(first < last for _, first, last in ranges)
    assert max(first for _, first, _ in ranges) < min(last for _, _, last in ranges)


@pytest.mark.parametrize("warts", [True, False])
def test_sources_come_mostly_by_id_some_by_own_url_and_eight_in_a_hundred_not_at_all(
    tmp_path: Path, warts: bool
) -> None:
    build_sample(tmp_path / "s.db", facts=20_000, warts=warts)
    connection = apsw.Connection(str(tmp_path / "s.db"))
    assert 0.80 < count(connection, "source_id IS NOT NULL AND source_url IS NULL") / 20_000 < 0.87
    assert 0.04 < count(connection, "source_id IS NULL AND source_url IS NOT NULL") / 20_000 < 0.06
    assert 0.02 < count(connection, "source_id IS NOT NULL AND source_url IS NOT NULL") / 20_000 < 0.04
    assert 0.07 < count(connection, "source_id IS NULL AND source_url IS NULL") / 20_000 < 0.09
    connection.close()


@pytest.mark.parametrize("facts", [0, -1])
def test_fewer_facts_than_one_are_refused(tmp_path: Path, facts: int) -> None:
    with pytest.raises(SampleError, match=f"{facts} facts .* expected 1 or more"):
        build_sample(tmp_path / "s.db", facts=facts)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match='"random" is not known, expected clustered or scattered'):
        build_sample(tmp_path / "s.db", profile="random")
    assert list(tmp_path.iterdir()) == []
