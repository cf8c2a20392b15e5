"""A dry run and the live run of its plan: they match where they do, and the report says in what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

KEY = "AUTONOMATH_FACT_SIGN_PRIVATE_KEY"


@pytest.fixture
def rehearsed(store: Any, settings: Any, run: Any) -> Any:
    """(store, settings) of 25 facts in three chunks, rehearsed without a key."""
    made = store()
    made.add_facts({"id": key, "source_url": "https://a.test/", "created_at": "2026-05-12"} for key in range(1, 26))
    config = settings(made, small=True)
    run(config, dry_run=True)
    return made, config


def dry_report(config: Any) -> Path:
    return Path(config.state_dir) / "run-1" / "dry-run" / "report.json"


def test_what_was_compared_is_said_and_what_was_not(rehearsed: Any, run: Any) -> None:
    dry = run(rehearsed[1])["dry_run"]
    assert dry["matches"] is True and dry["differences"] == []
    assert dry["compared"] == [
        "the facts of each outcome in every chunk", "the reasons for rejects", "the signing key",
    ]  # fmt: skip
    assert dry["not_compared"] == ["source, bounds and time of each fact (rehearsal.compare: content does)"]
    text = (Path(rehearsed[1].state_dir) / "run-1" / "live" / "report.md").read_text(encoding="utf-8")
    assert "the same in the facts of each outcome" in text and "matches" not in text


def test_one_fact_gone_is_a_difference_and_its_chunk_is_named(rehearsed: Any, run: Any) -> None:
    made, config = rehearsed
    made.execute("DELETE FROM am_entity_facts WHERE id = 3")
    report = run(config)
    assert report["dry_run"]["matches"] is False
    assert (
        "chunk 1: eligible 9, inserted 9, the dry run had eligible 10, inserted 10" in report["dry_run"]["differences"]
    )


def test_a_difference_that_cancels_out_in_the_totals_is_one(store: Any, settings: Any, run: Any) -> None:
    made = store()
    made.add_facts({"id": 2 * key, "source_url": "https://a.test/"} for key in range(1, 26))
    config = settings(made, small=True)
    predicted = run(config, dry_run=True)
    made.execute("DELETE FROM am_entity_facts WHERE id = 4")
    made.add_fact(31, source_url="https://a.test/")
    report = run(config)
    assert report["rows"] == predicted["rows"]
    assert report["dry_run"]["matches"] is False
    assert [words[:8] for words in report["dry_run"]["differences"]] == ["chunk 1:", "chunk 2:"]


@pytest.mark.parametrize(("rehearsed_with", "signed_with"), [(None, "11"), ("11", None), ("11", "22")])
def test_another_key_or_none_is_a_difference(
    store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch, rehearsed_with: Any, signed_with: Any
) -> None:
    def use(key: str | None) -> None:
        monkeypatch.delenv(KEY, raising=False)
        if key:
            monkeypatch.setenv(KEY, key * 32)

    made = store()
    made.add_fact(1, source_url="https://a.test/")
    config = settings(made)
    use(rehearsed_with)
    run(config, dry_run=True)
    use(signed_with)
    dry = run(config)["dry_run"]
    assert dry["matches"] is False
    assert dry["differences"][0].startswith("signed with ") and "the dry run had " in dry["differences"][0]


def test_the_report_for_people_names_the_difference(rehearsed: Any, run: Any) -> None:
    made, config = rehearsed
    made.execute("DELETE FROM am_entity_facts WHERE id = 3")
    run(config)
    text = (Path(config.state_dir) / "run-1" / "live" / "report.md").read_text(encoding="utf-8")
    assert "**They differ.**" in text and "chunk 1: eligible 9, inserted 9, the dry run had" in text


@pytest.mark.parametrize(
    "change",
    [{"rows": []}, {"rows": {"eligible": "25"}}, {"chunks": 7}, {"chunks": [{"chunk": 1}]}, {"plan_id": 7},
     {"rejects": {"x": -1}}, {"signatures": None}],
)  # fmt: skip
def test_a_forged_prediction_that_is_none_is_no_prediction(rehearsed: Any, run: Any, change: Any) -> None:
    _, config = rehearsed
    path = dry_report(config)
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    assert run(config)["dry_run"] is None


@pytest.fixture
def by_content(store: Any, settings: Any) -> Any:
    """(store, settings) of 25 facts in three chunks, to be compared by content; one has a row to replace."""
    made = store()
    made.add_facts(
        {"id": key, "source_url": f"https://a.test/{key}", "created_at": "2026-05-12", "confidence": 0.5}
        for key in range(1, 26)
    )
    made.add_metadata(2, source_doc=None)
    return made, settings(made, small=True, rehearsal={"compare": "content"})


def use_key(monkeypatch: pytest.MonkeyPatch, *, signed: bool) -> None:
    monkeypatch.delenv(KEY, raising=False)
    if signed:
        monkeypatch.setenv(KEY, "11" * 32)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "change",
    ["source_url = 'https://b.test/'", "created_at = '2026-05-13'", "confidence = 0.6", "confidence = NULL"],
)
def test_content_that_changed_between_the_two_is_a_difference(
    by_content: Any, run: Any, monkeypatch: pytest.MonkeyPatch, signed: bool, change: str
) -> None:
    use_key(monkeypatch, signed=signed)
    made, config = by_content
    predicted = run(config, dry_run=True)
    made.execute(f"UPDATE am_entity_facts SET {change}")
    report = run(config)
    assert report["rows"] == predicted["rows"] and report["dry_run"]["matches"] is False
    assert [words.split(":")[0] for words in report["dry_run"]["differences"]] == ["chunk 1", "chunk 2", "chunk 3"]
    text = (Path(config.state_dir) / "run-1" / "live" / "report.md").read_text(encoding="utf-8")
    assert "**They differ.**" in text and "chunk 1: as many facts, but another source, bound or time" in text


@pytest.mark.parametrize("key", [2, 13])
def test_one_source_that_changed_names_its_chunk(by_content: Any, run: Any, key: int) -> None:
    made, config = by_content
    run(config, dry_run=True)
    made.execute(f"UPDATE am_entity_facts SET source_url = 'https://b.test/' WHERE id = {key}")
    differences = run(config)["dry_run"]["differences"]
    assert [words.split(":")[0] for words in differences] == [f"chunk {key // 10 + 1}"]


@pytest.mark.parametrize("signed", [False, True])
def test_the_same_content_matches_whatever_the_batches(
    by_content: Any, run: Any, monkeypatch: pytest.MonkeyPatch, signed: bool
) -> None:
    use_key(monkeypatch, signed=signed)
    _, config = by_content
    run(config, dry_run=True)
    pacing = config.pacing.model_copy(update={"batch_rows": config.pacing.batch_rows + 1})
    report = run(config.model_copy(update={"pacing": pacing}))
    assert report["rows"]["updated"] == 1
    assert report["dry_run"]["matches"] is True and report["dry_run"]["not_compared"] == []
    assert "by a fingerprint of every chunk" in report["dry_run"]["compared"][-1]
    text = (Path(config.state_dir) / "run-1" / "live" / "report.md").read_text(encoding="utf-8")
    assert "matches in the facts of each outcome" in text


def test_content_of_which_the_ledger_lacks_a_part_is_not_compared(by_content: Any, run: Any) -> None:
    _, config = by_content
    run(config, dry_run=True)
    counted = config.model_copy(update={"rehearsal": config.rehearsal.model_copy(update={"compare": "counts"})})
    dry = run(counted)["dry_run"]
    assert len(dry["compared"]) == 3 and "source, bounds and time" in dry["not_compared"][0]
