"""Whatever is done to a store, the audit names it, and the second opinion finds the same. Untouched, it never cries."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

COVERED = {
    "am_fact_attestation_log": ("fact_id", "attester", "signed_at", "signature_hex", "notes", "attestation_id"),
    "am_fact_metadata": (
        "fact_id", "source_doc", "extracted_at", "verified_by", "confidence_lower", "confidence_upper", "ed25519_sig",
    ),
    "am_attestation_tile": (
        "first_leaf", "leaves", "first_attestation_id", "last_attestation_id", "subtree_roots", "attestation_ids",
        "leaf_marks", "payload_digests",
    ),
    "am_attestation_checkpoint": ("tree_size", "root", "frontier", "last_attestation_id", "note"),
}  # fmt: skip
ROWS = ("am_fact_attestation_log", "am_fact_metadata")

Tamper = Callable[[Any, random.Random], None]


def pick(store: Any, table: str, rng: random.Random) -> int:
    return int(rng.choice(store.execute(f"SELECT rowid FROM {table} ORDER BY rowid"))[0])


def flip_a_byte(store: Any, rng: random.Random) -> None:
    table = rng.choice(list(COVERED))
    rowid, column = pick(store, table, rng), rng.choice(COVERED[table])
    kind, value = store.execute(
        f"SELECT typeof({column}), CASE typeof({column}) WHEN 'text' THEN CAST({column} AS BLOB) ELSE {column} END "
        f"FROM {table} WHERE rowid = ?", (rowid,),
    )[0]  # fmt: skip
    if isinstance(value, bytes) and value:
        at = rng.randrange(len(value))
        value = value[:at] + bytes([value[at] ^ (1 << rng.randrange(8))]) + value[at + 1 :]
    elif isinstance(value, int):
        value += rng.choice([-1000, -1, 1, 1000])
    else:
        value = 0.25 if value is None or value != 0.25 else None
    new = "CAST(? AS TEXT)" if kind == "text" else "?"
    store.execute(f"UPDATE OR IGNORE {table} SET {column} = {new} WHERE rowid = ?", (value, rowid))


def drop_a_row(store: Any, rng: random.Random) -> None:
    table = rng.choice([*ROWS, "am_attestation_tile"])
    store.execute(f"DELETE FROM {table} WHERE rowid = ?", (pick(store, table, rng),))


def drop_the_last_checkpoint(store: Any, rng: random.Random) -> None:
    store.execute("DELETE FROM am_attestation_checkpoint WHERE tree_size = 23")


def duplicate_a_row(store: Any, rng: random.Random) -> None:
    """Between sealed rows, where a gap is."""
    store.execute(
        "INSERT OR IGNORE INTO am_fact_attestation_log SELECT ?, fact_id, attester, signed_at, signature_hex, notes "
        "FROM am_fact_attestation_log WHERE attestation_id = ?",
        (rng.choice([-5, 0, 50, 105, 122, 132]), pick(store, "am_fact_attestation_log", rng)),
    )


def swap_two_rows(store: Any, rng: random.Random) -> None:
    ids = [row[0] for row in store.execute("SELECT attestation_id FROM am_fact_attestation_log")]
    one, other = rng.sample(ids, 2)
    for to, was in ((-1, one), (one, other), (other, -1)):
        store.execute("UPDATE am_fact_attestation_log SET attestation_id = ? WHERE attestation_id = ?", (to, was))


def truncate(store: Any, rng: random.Random) -> None:
    """Cut the log back: the rows alone, with their tiles, or with their checkpoints too."""
    ids = [row[0] for row in store.execute("SELECT attestation_id FROM am_fact_attestation_log ORDER BY 1")]
    first = ids[min(rng.randrange(15, 23), len(ids) - 1)]  # another tampering may have cut some already
    store.execute("DELETE FROM am_fact_attestation_log WHERE attestation_id >= ?", (first,))
    how = rng.randrange(3)
    if how > 0:
        store.execute("DELETE FROM am_attestation_tile WHERE first_leaf >= 15")
    if how > 1:
        store.execute("DELETE FROM am_attestation_checkpoint WHERE tree_size > 15")


def put_a_placeholder(store: Any, rng: random.Random) -> None:
    rowid = pick(store, "am_fact_metadata", rng)
    fact = store.execute("SELECT fact_id FROM am_fact_metadata WHERE rowid = ?", (rowid,))[0][0]
    store.execute("UPDATE am_fact_metadata SET ed25519_sig = zeroblob(64) WHERE rowid = ?", (rowid,))
    if rng.random() < 0.5:  # and let the log say so
        store.execute("UPDATE am_fact_attestation_log SET signature_hex = ? WHERE fact_id = ?", ("0" * 128, fact))


def swap_two_signatures(store: Any, rng: random.Random) -> None:
    """In the metadata, and half of the time in the log as well."""
    signed = "SELECT fact_id, ed25519_sig FROM am_fact_metadata WHERE length(ed25519_sig) = 80"
    (one, first), (other, second) = rng.sample(store.execute(signed), 2)
    also = rng.random() < 0.5
    for fact, blob in ((one, second), (other, first)):
        store.execute("UPDATE am_fact_metadata SET ed25519_sig = ? WHERE fact_id = ?", (blob, fact))
        if also:
            store.execute(
                "UPDATE am_fact_attestation_log SET signature_hex = ? WHERE fact_id = ?", (blob[8:72].hex(), fact)
            )


def replay_an_old_row(store: Any, rng: random.Random) -> None:
    """Fact 3 was attested three times: put back what stood there once, whole."""
    old = rng.choice(["https://example.org/法令", "https://example.org/found-later"])
    number = 0 if old.endswith("令") else 1
    signature = store.execute(
        "SELECT signature_hex FROM am_fact_attestation_log WHERE fact_id = '3' ORDER BY attestation_id"
    )[number][0]
    store.execute(
        "UPDATE am_fact_metadata SET source_doc = ?, ed25519_sig = substr(ed25519_sig, 1, 8) || unhex(?) || "
        "substr(ed25519_sig, 73) WHERE fact_id = '3'", (old, signature),
    )  # fmt: skip
    store.execute("UPDATE am_fact_metadata SET ed25519_sig = CAST(ed25519_sig AS BLOB)")


TAMPERINGS: list[Tamper] = [
    flip_a_byte, drop_a_row, drop_the_last_checkpoint, duplicate_a_row, swap_two_rows, truncate, put_a_placeholder,
    swap_two_signatures, replay_an_old_row,
]  # fmt: skip


def contents(store: Any) -> list[Any]:
    """Everything that is covered, as stored."""
    return [
        store.execute(
            f"SELECT {', '.join(f'typeof({c}), CAST({c} AS BLOB)' for c in columns)} FROM {table} ORDER BY rowid"
        )
        for table, columns in COVERED.items()
    ]


@pytest.mark.parametrize("tamper", TAMPERINGS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), again=st.integers(0, 1))
def test_tampering_is_always_named_and_both_opinions_agree(
    tamper: Tamper, seed: int, again: int, sealed_once: Any, agree: Any
) -> None:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        store = sealed_once.copy(Path(folder) / "copy")
        tamper(store, rng)
        for _ in range(again):
            rng.choice(TAMPERINGS)(store, rng)
        assume(contents(store) != contents(sealed_once))
        assert agree(store)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["attest", "attest", "attest", "placeholder", "seal", "gap"]),
            st.integers(0, 5),
            st.sampled_from([None, "https://example.org/a", 'https://example.org/\x00\x1f"\\']),
        ),
        max_size=25,
    )
)
def test_an_untouched_log_of_any_history_never_cries(
    steps: list[tuple[str, int, str | None]], store: Any, agree: Any
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fresh = type(store)(Path(folder) / "store").create()
        last = 0
        for what, number, source in steps:
            if what == "seal":
                fresh.seal()
            elif what == "gap":
                last += 1000 * number
            else:
                last += 1
                fresh.attest(f"fact-{number}", signed=what == "attest", source=source, at=last)
        fresh.attest("last", at=last + 1)
        fresh.seal()
        found = {one for one in agree(fresh, fresh.checkpoints[0]) if one[0] != "signature_downgraded"}
        assert found == set()
