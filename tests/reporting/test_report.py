"""report.json and report.md: the fields that others rely on, the proof, and nothing that hostile values could break."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tasks.backfill.attempt import run_chunk
from tasks.backfill.plan_backfill import plan_backfill
from tasks.core.clock import now_text
from tasks.core.errors import StateError
from tasks.reporting.close import close_run, report_is_done
from tasks.reporting.markdown import cell
from tasks.runs.frozen_plans import read_plan

OUTCOMES = {"eligible", "inserted", "updated", "unchanged", "rejected"}
HOSTILE = [
    "<script>alert(1)</script>", "a | b", "line\nbreak", "`code`", "*bold* _it_", "[link](javascript:x)", "\\| escaped",
    "<!-- -->", "&lt;", "\r\n| x |", "\x1b[2J", "表\u2028紙", "![x](http://tracker.test/x.png)", "a\x00b",
]  # fmt: skip


@pytest.fixture
def sampled(store: Any, settings: Any) -> Any:
    """(store, settings) with all outcomes: 25 facts, of which 20 fresh, 2 to update, 1 unchanged, 2 to reject."""
    made = store()
    made.add_source(1, "https://a.test/")
    made.add_facts({"id": key, "source_id": 1, "confidence": "high" if key == 6 else 0.5, "created_at": "2026-05-12"}
                   for key in range(1, 26))  # fmt: skip
    made.execute("UPDATE am_entity_facts SET created_at = 'no date' WHERE id = 7")
    made.execute("UPDATE am_entity_facts SET confidence = 7 WHERE id = 8")
    made.execute("UPDATE am_entity_facts SET created_at = NULL WHERE id IN (9, 10)")
    for key, url in (("3", None), ("4", None), ("5", "https://old.test/")):
        made.add_metadata(key, url)
    return made, settings(made, small=True)


def markdown(settings: Any, run_id: str = "run-1", mode: str = "live") -> str:
    return (Path(settings.state_dir) / run_id / mode / "report.md").read_text(encoding="utf-8")


def test_the_report_of_a_live_run_has_every_field_with_its_type_and_value(sampled: Any, run: Any) -> None:
    _, config = sampled
    report = run(config)
    text_fields = ("run_id", "mode", "plan_id", "schema_fingerprint", "started_at", "finished_at", "stop_reason")
    assert all(isinstance(report[name], str) for name in text_fields)
    assert (report["run_id"], report["mode"], report["stop_reason"]) == ("run-1", "live", "complete")
    assert re.fullmatch(r"[0-9a-f]{64}", report["plan_id"])
    assert re.fullmatch(r"[0-9a-f]{64}", report["schema_fingerprint"])
    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", report[n]) for n in ("started_at", "finished_at")
    )
    assert report["started_at"] <= report["finished_at"]
    assert report["rows"] == {"eligible": 25, "inserted": 20, "updated": 2, "unchanged": 1, "rejected": 2}
    assert report["dry_run"] is None
    assert report["signatures"] == {"signed": 0, "placeholder": 22, "key_id": None, "key_ids": {}}
    assert report["remaining"] == 2
    assert report["rejects"] == {"confidence_out_of_range": 1, "created_at_unparseable": 1}
    assert [set(chunk) >= {"chunk", "after", "through", "rows", "seconds", "attempts"} for chunk in report["chunks"]]
    assert [(c["chunk"], c["after"], c["through"], c["attempts"]) for c in report["chunks"]] == [
        (1, None, 11, 1), (2, 11, 21, 1), (3, 21, 25, 1),
    ]  # fmt: skip
    assert all(set(chunk["rows"]) == OUTCOMES and chunk["seconds"] >= 0 for chunk in report["chunks"])
    assert (report["created_at_missing"], report["confidence_not_numeric"]) == (2, 1)
    assert report["top_sources"] == [{"source_doc": "https://a.test/", "facts": 22},
                                     {"source_doc": "https://old.test/", "facts": 1}]  # fmt: skip
    assert {row["fact_id"] for row in report["reject_sample"]} == {"7", "8"}


def test_the_key_id_of_the_report_is_that_of_the_signatures(sampled: Any, run: Any, signing_key: str) -> None:
    made, config = sampled
    report = run(config)
    assert report["signatures"]["signed"] == 22
    assert report["signatures"]["placeholder"] == 0
    signed = [row["ed25519_sig"] for row in made.metadata().values() if len(row["ed25519_sig"]) == 80]
    assert {blob[72:].hex() for blob in signed} == {report["signatures"]["key_id"]}
    assert signing_key not in json.dumps(report) + markdown(config)


def test_the_report_of_a_dry_run_predicts_the_live_one(sampled: Any, run: Any) -> None:
    _, config = sampled
    dry = run(config, dry_run=True)
    assert (dry["mode"], dry["dry_run"]["matches"]) == ("dry-run", None)
    assert dry["remaining"] == 24
    live = run(config)
    assert live["plan_id"] == dry["plan_id"]
    assert live["rows"] == dry["rows"] == live["dry_run"]["rows"]
    assert live["dry_run"]["rejects"] == dry["rejects"] == live["rejects"]
    assert live["dry_run"]["matches"] is True
    assert (
        "the same in the facts of each outcome in every chunk; the reasons for rejects; the signing key."
        in markdown(config)
    )


def test_a_store_that_changed_between_dry_and_live_run_does_not_match(sampled: Any, run: Any) -> None:
    made, config = sampled
    run(config, dry_run=True)
    made.execute("UPDATE am_entity_facts SET created_at = '2026-05-12' WHERE id = 7")
    report = run(config)
    assert report["dry_run"]["matches"] is False
    assert report["dry_run"]["rows"]["rejected"] == report["rows"]["rejected"] + 1
    assert "**They differ.**" in markdown(config)


def test_a_different_reason_is_a_difference_even_if_all_counts_are_the_same(sampled: Any, run: Any) -> None:
    made, config = sampled
    run(config, dry_run=True)
    made.execute("UPDATE am_entity_facts SET created_at = '2026-05-12', confidence = 7 WHERE id = 7")
    assert run(config)["dry_run"]["matches"] is False


def test_a_dry_run_of_another_run_id_is_not_compared_with(sampled: Any, run: Any) -> None:
    _, config = sampled
    run(config, "other", dry_run=True)
    assert run(config)["dry_run"] is None
    assert "No dry run of this plan was made." in markdown(config)


def test_the_proof_adds_up(sampled: Any, run: Any) -> None:
    made, config = sampled
    run(config, dry_run=True)
    for mode in ("dry-run", "live"):
        report = run(config, dry_run=mode == "dry-run")
        rows, closing = report["rows"], report["closing"]
        assert rows["eligible"] == sum(rows[name] for name in OUTCOMES - {"eligible"}) == made.count("am_entity_facts")
        assert closing["eligible_is_the_sum"] is closing["every_chunk_adds_up"] is True
        assert closing["every_write_is_signed_or_placeholder"] is True
        assert closing["chunks_done"] == closing["chunks_planned"] == 3
        assert closing["residual_when_planned"] == 24
        assert closing["remaining_beyond_this_run"] == 0
        assert rows["eligible"] == report["rows_outside_chunks"] + sum(c["rows"]["eligible"] for c in report["chunks"])


def test_what_is_left_is_counted_afresh(sampled: Any, run: Any) -> None:
    made, config = sampled
    made.add_facts({"id": key} for key in range(100, 103))
    report = run(config, max_rows=5)
    assert report["stop_reason"] == "row_budget"
    assert report["rows"]["inserted"] + report["rows"]["updated"] + report["rows"]["rejected"] == 5
    assert report["remaining"] == 27 - 5 + report["rows"]["rejected"]
    assert report["closing"]["remaining_beyond_this_run"] == report["remaining"] - report["rows"]["rejected"]


def test_a_plan_without_chunks_still_ends_in_a_report(store: Any, settings: Any, run: Any, dump: Any) -> None:
    made = store()
    made.add_fact(1)
    config = settings(made)
    run(config)
    before = dump(made.path)
    for dry_run in (True, False):
        report = run(config, "run-2", dry_run=dry_run)
        assert report["rows"] == {"eligible": 1, "inserted": 0, "updated": 0, "unchanged": 1, "rejected": 0}
        assert report["chunks"] == []
    assert report["dry_run"]["matches"] is True
    assert dump(made.path) == before
    assert "None: nothing was residual." in markdown(config, "run-2")


def test_the_terminal_gets_the_counts_and_the_path(sampled: Any, run: Any, paths: Any) -> None:
    _, config = sampled
    run(config, dry_run=True)
    run(config)
    text = close_run(config, paths(config))
    assert text.splitlines()[0] == "run run-1 (live run): complete"
    assert "eligible 25, inserted 20, updated 2, unchanged 1, rejected 2" in text
    assert "NO KEY, 22 placeholders, which are not signatures" in text
    assert "dry run of this plan: the same in the facts of each outcome in every chunk" in text
    assert text.splitlines()[-1] == f"report: {paths(config).report}"
    assert "dry run, nothing was written" in close_run(config, paths(config, dry_run=True))


def test_a_report_over_a_chunk_that_is_not_done_is_refused(sampled: Any, paths: Any) -> None:
    _, config = sampled
    for dry_run in (True, False):
        where = paths(config, dry_run=dry_run)
        plan_backfill(config, where, max_rows=None, created_at=now_text())
        run_chunk(config, where, 1, progress=lambda _: None)
        with pytest.raises(StateError, match=r"chunk 2 \(11, 21\]: its marker is"):
            close_run(config, where)
        assert not where.report.exists()


def test_a_chunk_that_the_ledger_says_is_not_done_is_refused_whatever_its_marker_says(
    sampled: Any, run: Any, paths: Any
) -> None:
    made, config = sampled
    run(config)
    made.execute("UPDATE am_backfill_chunk SET state = 'running', finished_at = NULL WHERE chunk = 2")
    with pytest.raises(
        StateError, match=r"chunk 2 \(11, 21\]: its marker is there, but the ledger .* says it is not done"
    ):
        close_run(config, paths(config))


def test_a_lost_or_torn_marker_of_a_live_run_is_written_again_from_the_ledger(
    sampled: Any, run: Any, paths: Any
) -> None:
    _, config = sampled
    first = run(config)
    where = paths(config)
    kept = where.marker(2).read_bytes()
    where.marker(1).unlink()
    where.marker(2).write_bytes(b'{"plan_id": ')
    close_run(config, where)
    assert where.marker(1).exists()
    assert where.marker(2).read_bytes() == kept
    again = json.loads(where.report.read_text(encoding="utf-8"))
    assert {**again, "finished_at": ""} == {**first, "finished_at": ""}


def test_a_lost_state_directory_is_made_again_from_the_ledger(sampled: Any, run: Any, dump: Any) -> None:
    import shutil

    made, config = sampled
    first = run(config)
    before = dump(made.path)
    shutil.rmtree(config.state_dir)
    second = run(config, created_at="2030-01-01T00:00:00.000Z")
    assert {**second, "finished_at": ""} == {**first, "finished_at": ""}
    assert dump(made.path) == before


def test_a_replaced_database_is_noticed(sampled: Any, run: Any, store: Any, settings: Any, paths: Any) -> None:
    made, config = sampled
    run(config)
    fresh = store(name="fresh.db")
    fresh.add_facts({"id": key} for key in range(1, 26))
    for suffix in ("-wal", "-shm"):
        Path(f"{made.path}{suffix}").unlink(missing_ok=True)
    fresh.execute("PRAGMA journal_mode = DELETE")
    fresh.path.replace(made.path)
    where = paths(config)
    with pytest.raises(StateError, match=r"the database was replaced or restored since\. Use a new --run-id"):
        report_is_done(config, where, None)
    with pytest.raises(StateError, match=r"chunk 1 .* its marker is there, but the ledger .* does not know it"):
        close_run(config, where)
    assert made.count("am_fact_metadata") == 0


def test_a_report_is_done_only_if_it_is_whole_and_of_the_plan_that_is_there(sampled: Any, run: Any, paths: Any) -> None:
    _, config = sampled
    where = paths(config)
    assert report_is_done(config, where, None) is False
    run(config)
    assert report_is_done(config, where, None) is True
    assert report_is_done(config, paths(config, dry_run=True), None) is False
    with pytest.raises(StateError, match="--max-rows 5"):
        report_is_done(config, where, 5)
    text = where.report.read_text(encoding="utf-8")
    plan = read_plan(where, config)
    assert plan is not None
    for torn in (text[: len(text) // 2], "", "[]", text.replace(plan.plan_id, "0" * 64)):
        where.report.write_text(torn, encoding="utf-8")
        assert report_is_done(config, where, None) is False


# -- Markdown ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", HOSTILE)
def test_a_cell_is_inert_text_on_one_line(value: str) -> None:
    text = cell(value)
    assert "\n" not in text
    assert "\r" not in text
    assert "<" not in text
    assert ">" not in text
    assert not re.search(r"(?<!\\)(\\\\)*\|", text)
    assert not re.search(r"(?<!\\)(\\\\)*[`*_\[\]]", text)
    assert not re.search(r"[\x00-\x1f\x7f]", text)


def test_a_cell_keeps_plain_values_as_they_are() -> None:
    assert [cell(v) for v in ("https://a.test/x?a=1", "補助金", 7, None, 0.5)] == [
        "https://a.test/x?a=1", "補助金", "7", "", "0.5",
    ]  # fmt: skip


def test_hostile_values_from_the_database_cannot_break_the_report(store: Any, settings: Any, run: Any) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", "id TEXT PRIMARY KEY"))
    made.add_facts({"id": value, "source_url": value, "created_at": None if n % 2 else value}
                   for n, value in enumerate(HOSTILE))  # fmt: skip
    config = settings(made, small=True)
    run(config, dry_run=True)
    report = run(config)
    assert report["rows"]["rejected"] == report["rows"]["inserted"] == len(HOSTILE) // 2
    for mode in ("dry-run", "live"):
        text = markdown(config, mode=mode)
        assert "<" not in text
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u2028]", text)
        tables = [block for block in text.split("\n\n") if block.startswith("|")]
        assert tables
        for table in tables:
            columns = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table.splitlines()}
            assert len(columns) == 1, table


def test_a_fact_without_a_usable_key_is_among_those_that_the_run_rejected(store: Any, settings: Any, run: Any) -> None:
    """Also where another reject makes the close look at every residual fact, among which these are not."""
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", "id UNIQUE"))
    made.add_facts({"id": key, "source_url": "https://a.test/", "created_at": "2026-05-12"} for key in (None, b"\1", 1))
    report = run(settings(made))
    assert (report["rows"]["inserted"], report["rows"]["rejected"], report["remaining"]) == (1, 2, 2)
    closing = report["closing"]
    assert (closing["remaining_after_this_run"], closing["remaining_beyond_this_run"]) == (2, 0)
