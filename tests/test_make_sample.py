"""MakeSample, the task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apsw
import luigi
import pytest

from tasks.core.errors import SampleError
from tasks.make_sample import MakeSample


@pytest.fixture
def job(tmp_path: Path) -> str:
    job_file = tmp_path / "job.yaml"
    job_file.write_text(f"database: {tmp_path}/s.db\nstate_dir: {tmp_path}/runs\n", encoding="utf-8")
    return str(job_file)


@pytest.fixture
def facts_file(tmp_path: Path) -> str:
    fact = {"entity_id": "e", "field_name": "f", "value": "v", "source_url": None, "fetched_at": None}
    (tmp_path / "facts.jsonl").write_text(json.dumps(fact))
    return str(tmp_path / "facts.jsonl")


def facts_in(path: Path) -> Any:
    connection = apsw.Connection(str(path))
    try:
        return connection.execute("SELECT count(*) FROM am_entity_facts").get
    finally:
        connection.close()


def test_a_worker_makes_the_sample_once_and_prints_one_line(
    tmp_path: Path, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert luigi.build([MakeSample(job=job, facts=300)], local_scheduler=True, log_level="ERROR")
    assert facts_in(tmp_path / "s.db") == 300
    line, *rest = [text for text in capsys.readouterr().out.splitlines() if text]
    assert rest == []
    assert line.startswith(f"{tmp_path}/s.db: 300 facts, ")
    assert "inserted 278, updated 3, unchanged 7, rejected 12" in line
    assert luigi.build([MakeSample(job=job, facts=300)], local_scheduler=True, log_level="ERROR")
    assert capsys.readouterr().out == ""


def test_it_is_complete_only_with_the_parameters_it_was_made_with(job: str) -> None:
    assert not MakeSample(job=job, facts=100).complete()
    MakeSample(job=job, facts=100).run()
    assert MakeSample(job=job, facts=100).complete()
    assert not MakeSample(job=job, facts=101).complete()
    assert not MakeSample(job=job, facts=100, profile="scattered").complete()
    assert not MakeSample(job=job, facts=100, facts_file="facts.jsonl").complete()


def test_facts_come_from_the_file_where_one_is_given(tmp_path: Path, job: str, facts_file: str) -> None:
    MakeSample(job=job, facts_file=facts_file).run()
    assert facts_in(tmp_path / "s.db") == 1
    assert MakeSample(job=job, facts_file=facts_file).complete()
    assert not MakeSample(job=job).complete()


def test_another_database_is_refused_and_kept(tmp_path: Path, job: str) -> None:
    (tmp_path / "s.db").write_bytes(b"precious")
    with pytest.raises(SampleError) as caught:
        MakeSample(job=job, facts=100).run()
    assert str(caught.value) == (
        f"{tmp_path}/s.db already exists and is not this sample; it is never overwritten. Set "
        "AUTONOMATH_DB_PATH to a new path, or move the file away. Nothing was written."
    )
    assert (tmp_path / "s.db").read_bytes() == b"precious"
    assert not (tmp_path / "s.db.sample.json").exists()


def test_a_sample_made_with_other_parameters_is_refused(tmp_path: Path, job: str) -> None:
    MakeSample(job=job, facts=100).run()
    with pytest.raises(SampleError, match="is not this sample"):
        MakeSample(job=job, facts=101).run()
    assert facts_in(tmp_path / "s.db") == 100


@pytest.mark.parametrize("stamp", ["", "{", "[]", "{}", '{"made_with": {"facts": 100}}'])
def test_a_stamp_that_does_not_match_is_no_stamp(tmp_path: Path, job: str, stamp: str) -> None:
    MakeSample(job=job, facts=100).run()
    (tmp_path / "s.db.sample.json").write_text(stamp)
    assert not MakeSample(job=job, facts=100).complete()


def test_a_stamp_whose_database_was_moved_away_does_not_count(tmp_path: Path, job: str) -> None:
    MakeSample(job=job, facts=100).run()
    (tmp_path / "s.db").rename(tmp_path / "elsewhere.db")
    assert not MakeSample(job=job, facts=100).complete()
    MakeSample(job=job, facts=100).run()
    assert MakeSample(job=job, facts=100).complete()


def test_the_stamp_is_written_after_the_database(tmp_path: Path, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(path: Path, text: str, **_: Any) -> None:
        assert facts_in(tmp_path / "s.db") == 100
        raise KeyboardInterrupt

    monkeypatch.setattr("tasks.sample.making.write_durably", stop)
    with pytest.raises(KeyboardInterrupt):
        MakeSample(job=job, facts=100).run()
    assert not MakeSample(job=job, facts=100).complete()


def test_the_stamp_tells_what_a_first_run_has_to_find(tmp_path: Path, job: str) -> None:
    MakeSample(job=job, facts=300).run()
    stamp = json.loads((tmp_path / "s.db.sample.json").read_text(encoding="utf-8"))
    assert stamp["expected"]["eligible"] == stamp["facts"] == 300
    assert sum(stamp["expected"]["rejects"].values()) == stamp["expected"]["rejected"] == 12


def test_too_few_facts_are_refused_before_anything_is_written(tmp_path: Path, job: str) -> None:
    with pytest.raises(SampleError, match="expected 1 or more"):
        MakeSample(job=job, facts=0).run()
    assert not (tmp_path / "s.db").exists()
