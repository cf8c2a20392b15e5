"""Facts from a JSON-lines file."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import apsw
import pytest

from tasks.core.errors import SampleError
from tasks.sample.database import load_facts_file

FACT: dict[str, Any] = {
    "entity_id": "law:kasen", "field_name": "title", "value": "河川法",
    "source_url": "https://laws.example.jp/kasen", "fetched_at": "2026-05-11T12:36:49+00:00",
}  # fmt: skip
FACTS = [
    FACT,
    FACT | {"field_name": "article.1", "value": "第一条", "fetched_at": "2026-05-11 12:37"},
    FACT | {"source_url": "https://laws.example.jp/mori", "fetched_at": None, "unknown": [1]},
    FACT | {"source_url": None, "value": None},
    FACT | {"source_url": "  "},
]


def written(path: Path, facts: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(fact, ensure_ascii=False) + "\n" for fact in facts)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def rows(database: Path, sql: str) -> list[Any]:
    connection = apsw.Connection(str(database))
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_every_line_becomes_one_fact_in_the_files_order(tmp_path: Path) -> None:
    summary = load_facts_file(tmp_path / "s.db", written(tmp_path / "facts.jsonl", FACTS))
    assert (summary.facts, summary.sources, summary.warts) == (5, 2, {"source_none": 2})
    assert summary.expected == {"eligible": 5}
    assert rows(
        tmp_path / "s.db",
        "SELECT f.id, field_name, field_value_text, s.source_url, f.source_url, created_at, confidence"
        " FROM am_entity_facts f LEFT JOIN am_source s ON s.id = source_id ORDER BY f.id",
    ) == [
        (1, "title", "河川法", "https://laws.example.jp/kasen", None, "2026-05-11T12:36:49+00:00", None),
        (2, "article.1", "第一条", "https://laws.example.jp/kasen", None, "2026-05-11 12:37", None),
        (3, "title", "河川法", "https://laws.example.jp/mori", None, None, None),
        (4, "title", None, None, None, "2026-05-11T12:36:49+00:00", None),
        (5, "title", "河川法", None, None, "2026-05-11T12:36:49+00:00", None),
    ]


def test_plain_and_gzipped_files_agree_whatever_they_are_called(tmp_path: Path) -> None:
    packed = written(tmp_path / "facts.jsonl.gz", FACTS)
    misnamed = tmp_path / "facts.txt"
    misnamed.write_bytes(packed.read_bytes())
    facts_files = [written(tmp_path / "facts.jsonl", FACTS), packed, misnamed]
    contents = []
    for number, facts_file in enumerate(facts_files):
        database = tmp_path / f"{number}.db"
        load_facts_file(database, facts_file)
        contents.append(
            [rows(database, f"SELECT * FROM {name} ORDER BY id") for name in ("am_source", "am_entity_facts")]
        )
    assert contents[0] == contents[1] == contents[2]


def test_more_facts_than_one_block_are_all_loaded_and_keep_their_sources(tmp_path: Path) -> None:
    many = [FACT | {"value": str(n), "source_url": f"https://e.jp/{n % 15_000}"} for n in range(45_001)]
    summary = load_facts_file(tmp_path / "s.db", written(tmp_path / "facts.jsonl.gz", many))
    assert (summary.facts, summary.sources) == (45_001, 15_000)
    assert rows(
        tmp_path / "s.db",
        "SELECT count(*) FROM am_entity_facts f JOIN am_source s ON s.id = f.source_id"
        " WHERE s.source_url = format('https://e.jp/%d', field_value_text % 15000)",
    ) == [(45_001,)]


def test_blank_lines_are_left_out_but_counted_as_lines(tmp_path: Path) -> None:
    facts_file = tmp_path / "facts.jsonl"
    facts_file.write_text(f"\n{json.dumps(FACT)}\n\n{json.dumps(FACT)}", encoding="utf-8")
    assert load_facts_file(tmp_path / "s.db", facts_file).facts == 2
    facts_file.write_text(f"\n{json.dumps(FACT)}\n\nnonsense", encoding="utf-8")
    with pytest.raises(SampleError, match=r"facts\.jsonl line 4:"):
        load_facts_file(tmp_path / "t.db", facts_file)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"{", "not a JSON object in UTF-8"),
        (b"\xff\xfe", "not a JSON object in UTF-8"),
        (b"[" * 200_000, "not a JSON object in UTF-8"),
        (b"[1]", "expected a JSON object, found list"),
        (json.dumps({**FACT, "entity_id": None}).encode(), '"entity_id" is NoneType, expected text'),
        (json.dumps({**FACT, "value": 7}).encode(), '"value" is int, expected text or null'),
        (json.dumps({**FACT, "source_url": ["x"]}).encode(), '"source_url" is list, expected text or null'),
        (json.dumps({**FACT, "value": "\ud800"}).encode(), '"value" holds half of a surrogate pair'),
        (b'{"entity_id": "x"}', 'the object has no "field_name"'),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_left(tmp_path: Path, line: bytes, fault: str) -> None:
    facts_file = written(tmp_path / "facts.jsonl", [FACT] * 2)
    facts_file.write_bytes(facts_file.read_bytes() + line + b"\n")
    with pytest.raises(SampleError) as caught:
        load_facts_file(tmp_path / "s.db", facts_file)
    assert str(caught.value).startswith(f"{facts_file} line 3: {fault}")
    assert str(caught.value).endswith("Nothing was written.")
    assert [path.name for path in tmp_path.iterdir()] == ["facts.jsonl"]


def test_a_file_that_breaks_off_is_named_with_the_last_line_that_was_read(tmp_path: Path) -> None:
    facts_file = written(tmp_path / "facts.jsonl.gz", [FACT | {"value": str(n * 7919)} for n in range(9000)])
    facts_file.write_bytes(facts_file.read_bytes()[:-20])
    with pytest.raises(SampleError, match=r"facts.jsonl.gz: .* cannot be read after line \d+"):
        load_facts_file(tmp_path / "s.db", facts_file)
    assert not (tmp_path / "s.db").exists()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match=r"absent.jsonl: the facts file cannot be read .*No such file"):
        load_facts_file(tmp_path / "s.db", tmp_path / "absent.jsonl")


def test_a_file_without_facts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "facts.jsonl").write_text("\n")
    with pytest.raises(SampleError, match="holds no facts"):
        load_facts_file(tmp_path / "s.db", tmp_path / "facts.jsonl")
    assert not (tmp_path / "s.db").exists()


def test_an_existing_database_is_kept(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_bytes(b"precious")
    with pytest.raises(SampleError, match="never overwritten"):
        load_facts_file(tmp_path / "s.db", written(tmp_path / "facts.jsonl", FACTS))
    assert (tmp_path / "s.db").read_bytes() == b"precious"
