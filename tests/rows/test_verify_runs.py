"""A verification as a run of its own: what is frozen, what is resumed, and what is never taken for an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.attestation.public_keys import load_registry
from tasks.core.clock import now_text
from tasks.core.errors import StateError, VerificationError
from tasks.job.paths import PartPaths, verify_paths
from tasks.reporting.close_verification import close_verification
from tasks.rows.verify_runs import current_plan, plan_run, read_verdict, require_plan, run_chunk

LATER = "2999-01-01T00:00:00.000Z"


@pytest.fixture
def verification(attested: Any, registry: Any) -> Any:
    """(store, settings, keys, paths) of 25 signed facts: three chunks."""
    store, settings = attested(25)
    return store, settings, registry(), verify_paths(settings.state_dir, "v")


def whole(settings: Any, keys: Path, paths: PartPaths, *, asked_at: str, allow_unsigned: bool = False) -> str:
    """What VerifyAttestations does, without Luigi."""
    plan_run(settings, keys, paths, asked_at=asked_at)
    plan = require_plan(settings, load_registry(keys), paths)
    for chunk in plan.chunks:
        if read_verdict(plan.plan_id, paths, chunk.chunk) is None:
            run_chunk(settings, keys, paths, plan.plan_id, chunk.chunk, progress=lambda _: None)
    return close_verification(settings, keys, paths, allow_unsigned=allow_unsigned)


def report(paths: PartPaths) -> dict[str, Any]:
    return dict(json.loads(paths.report.read_text(encoding="utf-8")))


def test_the_report_holds_what_was_found(verification: Any) -> None:
    _store, settings, keys, paths = verification
    shown = whole(settings, keys, paths, asked_at=now_text())
    assert "All 25 rows are valid." in shown
    content = report(paths)
    assert (content["rows"], content["passed"], content["facts"]) == (25, True, [])
    assert [chunk["rows"] for chunk in content["chunks"]] == [10, 10, 5]
    assert paths.report_markdown.read_text(encoding="utf-8").startswith("# Verification v\n\nAll 25 rows are valid.")


def test_a_row_that_is_not_valid_fails_it_and_the_report_is_there(verification: Any) -> None:
    store, settings, keys, paths = verification
    store.execute("UPDATE am_fact_metadata SET source_doc = 'x' WHERE fact_id IN ('7', '24')")
    with pytest.raises(VerificationError, match=r"NOT all rows are valid: invalid 2 of 25\. See .*verify\.md"):
        whole(settings, keys, paths, asked_at=now_text())
    assert [fact["fact_id"] for fact in report(paths)["facts"]] == ["24", "7"]
    assert json.loads((paths.run / "verify" / "summary.json").read_text())["passed"] is False


def test_what_was_found_before_is_no_answer_to_a_later_question(verification: Any) -> None:
    store, settings, keys, paths = verification
    whole(settings, keys, paths, asked_at=now_text())
    known = load_registry(keys)
    assert current_plan(settings, known, paths, asked_at="") is not None
    assert current_plan(settings, known, paths, asked_at=LATER) is None
    store.execute("UPDATE am_fact_metadata SET source_doc = 'x' WHERE fact_id = '7'")
    with pytest.raises(VerificationError):
        whole(settings, keys, paths, asked_at=LATER)


def test_what_was_interrupted_goes_on_where_it_stopped(verification: Any) -> None:
    _store, settings, keys, paths = verification
    plan_run(settings, keys, paths, asked_at=now_text())
    plan = require_plan(settings, load_registry(keys), paths)
    run_chunk(settings, keys, paths, plan.plan_id, 2, progress=lambda _: None)
    before = paths.marker(2).read_text()
    whole(settings, keys, paths, asked_at=LATER)
    assert require_plan(settings, load_registry(keys), paths) == plan
    assert paths.marker(2).read_text() == before


@pytest.mark.parametrize("point", ["while a file is written", "before the rename of a file"])
@pytest.mark.parametrize("nth", range(1, 11))
def test_killed_anywhere_the_same_command_ends_it(point: str, nth: int, verification: Any, dies_at: Any) -> None:
    """One plan, three findings, three markers, and the three files of the report."""
    _store, settings, keys, paths = verification
    asked_at = now_text()
    dies_at(point, nth, lambda: whole(settings, keys, paths, asked_at=asked_at))
    whole(settings, keys, paths, asked_at=asked_at)
    assert report(paths)["states"]["valid"] == 25


def test_another_registry_is_another_verification(verification: Any, registry: Any, keys: Any) -> None:
    _store, settings, path, paths = verification
    asked_at = now_text()
    plan_run(settings, path, paths, asked_at=asked_at)
    plan = require_plan(settings, load_registry(path), paths)
    run_chunk(settings, path, paths, plan.plan_id, 1, progress=lambda _: None)
    registry(keys.entry(state="revoked"))
    with pytest.raises(StateError, match="was replaced by another verification"):
        run_chunk(settings, path, paths, plan.plan_id, 2, progress=lambda _: None)
    with pytest.raises(VerificationError, match="revoked 25 of 25"):
        whole(settings, path, paths, asked_at=asked_at)


def test_a_torn_marker_is_no_verdict(verification: Any) -> None:
    _store, settings, keys, paths = verification
    plan_run(settings, keys, paths, asked_at=now_text())
    plan = require_plan(settings, load_registry(keys), paths)
    run_chunk(settings, keys, paths, plan.plan_id, 1, progress=lambda _: None)
    text = paths.marker(1).read_text()
    for torn in ("", text[: len(text) // 2], "[]", text.replace('"rows"', '"lines"')):
        paths.marker(1).write_text(torn)
        assert read_verdict(plan.plan_id, paths, 1) is None
    with pytest.raises(StateError, match="missing or torn"):
        close_verification(settings, keys, paths, allow_unsigned=False)


@pytest.mark.parametrize(
    "forge",
    [
        {"chunk": 2}, {"rows": 24}, {"rows": -1}, {"rows": "25"}, {"states": {"valid": 25}}, {"listed": {}},
        {"started_at": "yesterday"}, {"seconds": -1.0}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_no_other_object_is_a_verdict(forge: dict[str, Any], verification: Any) -> None:
    _store, settings, keys, paths = verification
    whole(settings, keys, paths, asked_at=now_text())
    content = json.loads(paths.marker(1).read_text())
    assert read_verdict(content["plan_id"], paths, 1) is not None
    paths.marker(1).write_text(json.dumps(content | forge))
    assert read_verdict(content["plan_id"], paths, 1) is None


def test_findings_that_do_not_add_up_are_refused(verification: Any) -> None:
    """As when another verification of the same run id replaced them in the middle."""
    store, settings, keys, paths = verification
    store.execute("UPDATE am_fact_metadata SET source_doc = 'x' WHERE fact_id = '7'")
    with pytest.raises(VerificationError):
        whole(settings, keys, paths, asked_at=now_text())
    for chunk in (1, 2, 3):
        paths.findings(chunk).write_text("")
    with pytest.raises(StateError, match="ran at the same time"):
        close_verification(settings, keys, paths, allow_unsigned=False)
