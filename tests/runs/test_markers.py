"""A marker is a typed value; what is read back as one is one, whole, or none."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from tasks.runs.markers import Marker, Rehearsed, Signatures, marker_of_json, read_marker
from tasks.stores.protocols.counts import Counts

KEY = "0123456789abcdef"
LIVE = Marker(
    run_id="run-1", plan_id="ab" * 32, mode="live", chunk=3, after=None, through="fact-9",
    counts=Counts(
        eligible=7, inserted=4, updated=1, unchanged=1, rejected=1, signed=5, created_at_missing=2,
        confidence_not_numeric=1,
    ),
    signatures=Signatures(5, 0, KEY, {KEY: 5}), seconds=0.125, attempts=2, host="here", pid=42,
    started_at="2026-05-12T01:23:45.000Z", finished_at="2026-05-12T01:23:46.000Z",
)  # fmt: skip
REHEARSED = replace(LIVE, mode="dry-run", rehearsed=Rehearsed({"too_long": 1}, [{"fact_id": "1", "old": None}], None))


def test_a_marker_on_the_disk_has_the_shape_that_it_always_had() -> None:
    assert list(LIVE.as_json().items()) == [
        ("run_id", "run-1"), ("plan_id", "ab" * 32), ("mode", "live"), ("chunk", 3), ("after", None),
        ("through", "fact-9"), ("rows", {"eligible": 7, "inserted": 4, "updated": 1, "unchanged": 1, "rejected": 1}),
        ("signatures", {"signed": 5, "placeholder": 0, "key_id": KEY, "key_ids": {KEY: 5}}), ("created_at_missing", 2),
        ("confidence_not_numeric", 1), ("seconds", 0.125), ("attempts", 2), ("host", "here"), ("pid", 42),
        ("started_at", "2026-05-12T01:23:45.000Z"), ("finished_at", "2026-05-12T01:23:46.000Z"),
    ]  # fmt: skip
    assert list(REHEARSED.as_json())[-3:] == ["rejects", "sample", "content"]


@pytest.mark.parametrize("marker", [LIVE, REHEARSED], ids=["live", "dry-run"])
def test_what_was_written_is_read_back_as_it_was(marker: Marker) -> None:
    assert marker_of_json(json.loads(json.dumps(marker.as_json()))) == marker


def without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: content.pop(name)


def with_(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda content: content.update({name: value})


@pytest.mark.parametrize(
    "forge",
    [
        *map(without, REHEARSED.as_json()), with_("chunk", 0), with_("chunk", "3"), with_("plan_id", "ab"),
        with_("mode", "dead"), with_("after", [1]), with_("seconds", -1.0), with_("seconds", "1"), with_("pid", -1),
        with_("started_at", "yesterday"), with_("signatures", None), with_("rows", [7]),
        with_("created_at_missing", 2.0),
        with_("sample", {}), with_("rejects", {"too_long": -1}), with_("content", "ab"), with_("extra", 1),
        lambda content: content["rows"].update(eligible=8), lambda content: content["rows"].pop("unchanged"),
        lambda content: content["signatures"].update(key_id="K" * 16),
        lambda content: content["signatures"].pop("signed"),
    ],
)  # fmt: skip
def test_no_other_object_is_a_marker(forge: Callable[[dict[str, Any]], object]) -> None:
    content = deepcopy(REHEARSED.as_json())
    forge(content)
    with pytest.raises(ValueError):
        marker_of_json(content)


def test_negative_counts_are_no_marker_even_where_they_add_up() -> None:
    content = deepcopy(LIVE.as_json())
    content["rows"] = {"eligible": 7, "inserted": 9, "updated": 1, "unchanged": -4, "rejected": 1}
    with pytest.raises(ValueError):
        marker_of_json(content)


def test_a_marker_that_lost_a_member_counts_as_torn(store: Any, settings: Any, run: Any, paths: Any) -> None:
    made = store()
    made.add_facts({"id": key, "source_url": "https://a.test/"} for key in range(1, 4))
    config = settings(made)
    run(config)
    from tasks.runs.frozen_plans import require_plan

    where = paths(config)
    plan, path = require_plan(where, config), where.marker(1)
    assert read_marker(plan, where, 1) is not None
    content = json.loads(path.read_text())
    del content["rows"]["rejected"]
    path.write_text(json.dumps(content))
    assert read_marker(plan, where, 1) is None
