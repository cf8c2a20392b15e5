"""An error has fields; its text is made of them in one place, and both survive another process."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.errors import NOTHING_WRITTEN, RUN_AGAIN, DatabaseError, ProvenanceError, RowRefusedError, StateError

FIELDS = ("what", "where", "seen", "hint", "again", "written", "advice_last")


@pytest.mark.parametrize(
    ("fields", "text", "without_advice"),
    [
        ({"what": "interrupted"}, "interrupted", "interrupted"),
        ({"what": "gone", "where": "a.json"}, "a.json: gone.", "a.json: gone."),
        ({"what": "cannot be read", "seen": "no such file"}, "cannot be read: no such file.", None),
        ({"what": "63 digits", "where": "key", "seen": "expected 64"}, "key: 63 digits, expected 64.", None),
        (
            {"what": "no column", "where": "t", "hint": "Add it", "written": NOTHING_WRITTEN},
            "t: no column. Add it. Nothing was written.",
            None,
        ),
        (
            {"what": "torn", "where": "plan", "again": RUN_AGAIN, "written": NOTHING_WRITTEN},
            "plan: torn. Run the same command again. Nothing was written.",
            "plan: torn. Nothing was written.",
        ),
        (
            {
                "what": "the disk is full", "written": NOTHING_WRITTEN, "hint": "Free some space",
                "again": ", then run the same command again", "advice_last": True,
            },
            "the disk is full. Nothing was written. Free some space, then run the same command again.",
            "the disk is full. Nothing was written. Free some space.",
        ),
        (
            {"what": "a.", "written": "It stopped at 5", "again": "; run it again", "advice_last": True},
            "a. It stopped at 5; run it again.",
            "a. It stopped at 5.",
        ),
    ],
)  # fmt: skip
def test_a_text_is_made_of_the_fields(fields: dict[str, Any], text: str, without_advice: str | None) -> None:
    error = ProvenanceError(**fields)
    assert (str(error), error.without_advice()) == (text, without_advice or text)


texts = st.text(max_size=5)


@given(st.builds(StateError, texts, where=texts, seen=texts, hint=texts, again=texts, written=texts))
def test_another_process_gets_every_field(error: StateError) -> None:
    error.__cause__, error.__dict__["where"] = ValueError("with locals"), f"{error.where}!"
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is StateError and found.__cause__ is None
    assert [getattr(found, name) for name in FIELDS] == [getattr(error, name) for name in FIELDS]
    assert str(found) == str(error)


def test_what_the_database_said_survives_another_process_and_a_wider_place() -> None:
    error = RowRefusedError("refused", words="CHECK failed", where="database a.db", written=NOTHING_WRITTEN)
    found = pickle.loads(pickle.dumps(error)).at("chunk 3")
    assert (type(found), found.words) == (RowRefusedError, "CHECK failed")
    assert str(found) == "chunk 3: database a.db: refused. Nothing was written."
    assert str(error) == "database a.db: refused. Nothing was written."


def test_a_plain_text_gets_a_place_too() -> None:
    assert str(DatabaseError("gone.").at("chunk 3")) == "chunk 3: gone."


def subclasses(of: type[ProvenanceError]) -> list[type[ProvenanceError]]:
    return [of, *(deeper for sub in of.__subclasses__() for deeper in subclasses(sub))]


@pytest.mark.parametrize("kind", subclasses(ProvenanceError))
def test_an_error_of_any_kind_can_end_what_had_begun(kind: type[ProvenanceError]) -> None:
    error = kind("refused", where="database a.db", again=RUN_AGAIN)
    ended = error.stopped(where="chunk 3", written="It stopped at 7", again="; run the same command again")
    assert type(ended) is kind
    assert str(ended) == "chunk 3: database a.db: refused. It stopped at 7; run the same command again."
