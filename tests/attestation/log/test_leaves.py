"""Leaves: canonical, injective, and the fast way gives what the plain way gives."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from tasks.attestation.fast.batch_hashing import split_hashes
from tasks.attestation.log.leaves import (
    NO_DIGEST,
    AttestedRow,
    LeafMaker,
    LogRow,
    leaf_data,
    leaf_hashes,
    marks_of,
    sealed_digest,
)
from tasks.attestation.log.merkle import Frontier, leaf_hash, root_of
from tasks.attestation.log.subtrees import grow, subtree_roots, subtrees
from tasks.attestation.payload import encode
from tasks.attestation.signature_column import PLACEHOLDER_HEX
from tasks.attestation.signer import Signer
from tasks.core.values import NotUtf8, Record

PAGE = (Path(__file__).parents[3] / "docs" / "attestation-log.md").read_text(encoding="utf-8")
ROWS = Signer(key_name="provenance-backfill/sample", seed=bytes(range(32)))

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
not_utf8 = st.binary(max_size=4).map(lambda tail: NotUtf8(b"\xff" + tail))
odd = st.one_of(texts, st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.binary(max_size=4), not_utf8)
columns = st.one_of(texts, texts, st.none(), odd)
log_rows = st.builds(LogRow, st.integers(-(2**63), 2**63 - 1), columns, columns, columns, columns, columns)
bounds = st.one_of(
    st.none(), st.sampled_from([0.0, -0.0, 1.0, 0.45, 1e-05]), st.floats(0, 1), st.just(1), st.just("0.5")
)
blobs = st.one_of(
    st.just(bytes(64)), st.binary(min_size=80, max_size=80), st.none(), st.just("text"), st.binary(max_size=9)
)


@st.composite
def attested_rows(draw: st.DrawFn) -> AttestedRow:
    row, blob = draw(log_rows), draw(blobs)
    fact = draw(st.sampled_from([row.fact_id, row.fact_id, "other", None]))
    signature = row.signature_hex
    if isinstance(blob, bytes) and draw(st.booleans()):
        signature = (blob if len(blob) == 64 else blob[8:72]).hex()
    latest = draw(st.sampled_from([0, 1])) if signature == PLACEHOLDER_HEX else None
    values = (draw(bounds), draw(bounds), draw(columns), fact, draw(columns), draw(columns), blob, latest)
    return AttestedRow(*row._replace(signature_hex=signature), *values)


@given(st.lists(attested_rows(), max_size=6))
def test_many_at_once_are_what_each_is_alone(rows: list[AttestedRow]) -> None:
    digests = [sealed_digest(row) for row in rows]
    hashes = [leaf_hash(leaf_data(LogRow(*row[:6]), digest)) for row, digest in zip(rows, digests, strict=True)]
    maker = LeafMaker()
    for _ in range(2):  # with and without what it remembers
        found = maker.leaves([tuple(row) for row in rows])  # type: ignore[misc]
        assert found == ([row.attestation_id for row in rows], b"".join(digests), b"".join(hashes))
        assert leaf_hashes([row[:6] for row in rows], b"".join(digests)) == b"".join(hashes)  # type: ignore[misc]


plain_texts = st.text(st.sampled_from('a7"\\\n\x00\x1f\x20\x7f法😀')) | texts
plain_bounds = st.none() | st.sampled_from([0.0, -0.0, 1.0, 0.45, 1e-05]) | st.floats(0, 1)


@st.composite
def plain_rows(draw: st.DrawFn) -> AttestedRow:
    """A row without any oddity: one that the fast way never hands over to the plain one."""
    number, fact, other = draw(st.integers(-(2**63), 2**63 - 1)), draw(plain_texts), draw(plain_texts)
    blob = draw(st.just(bytes(64)) | st.binary(min_size=80, max_size=80))
    held = (blob if len(blob) == 64 else blob[8:72]).hex()
    signature = draw(st.sampled_from([held, held, held.upper(), other]))
    latest = draw(st.sampled_from([0, 1])) if signature == PLACEHOLDER_HEX else None
    attester, note, time, at = (draw(plain_texts) for _ in range(4))
    notes, source_doc, verified_by = (draw(st.none() | st.just(value)) for value in (note, other, attester))
    return AttestedRow(
        number, attester, fact, notes, signature, time, draw(plain_bounds), draw(plain_bounds), at,
        draw(st.sampled_from([fact, fact, other])), source_doc, verified_by, blob, latest,
    )  # fmt: skip


@given(st.lists(plain_rows(), min_size=1, max_size=6), st.booleans())
def test_rows_without_an_oddity_take_the_fast_way_and_are_what_each_is_alone(
    rows: list[AttestedRow], alike: bool
) -> None:
    if alike:  # as a batch of a run writes them
        of_batch = {name: getattr(rows[0], name) for name in ("attester", "notes", "signed_at", "verified_by")}
        rows = [row._replace(**of_batch) for row in rows]
    digests = [sealed_digest(row) for row in rows]
    hashes = [leaf_hash(leaf_data(LogRow(*row[:6]), digest)) for row, digest in zip(rows, digests, strict=True)]
    maker = LeafMaker()
    with patch("tasks.attestation.log.leaves.leaf_data", side_effect=AssertionError("the plain way")):
        for _ in range(2):  # with and without what it remembers
            found = maker.leaves(rows)
            assert found == ([row.attestation_id for row in rows], b"".join(digests), b"".join(hashes))
            assert leaf_hashes([LogRow(*row[:6]) for row in rows], b"".join(digests)) == b"".join(hashes)


def attested(*, lower: Any = 0.45, signature: bytes = bytes(64), latest: int | None = 1) -> AttestedRow:
    values = (lower, 0.55, "2026-05-11T12:36:49.000Z", "17", None, None, signature, latest)
    return AttestedRow(1, "a", "17", None, signature.hex(), "s", *values)


def test_an_id_beyond_64_bits_and_odd_columns_go_the_plain_way() -> None:
    for row in (LogRow(2**63, "a", "b", None, "c", "d"), LogRow(1, b"a", "b", None, "c", "d")):
        assert leaf_hashes([row], NO_DIGEST) == leaf_hash(leaf_data(row, NO_DIGEST))


def test_of_all_placeholders_only_the_latest_stands_for_the_metadata() -> None:
    latest, older = attested(), attested(latest=0)
    assert sealed_digest(latest) != NO_DIGEST == sealed_digest(older)
    assert LeafMaker().leaves([latest, older]).digests == sealed_digest(latest) + NO_DIGEST


def test_bounds_that_are_equal_and_spelt_differently_are_not_mixed_up() -> None:
    rows = [attested(lower=lower) for lower in (0.0, -0.0, 0, 1.0, 1, True, 2.0, 2, 0.5)]
    maker = LeafMaker()
    for row in (*rows, *rows):
        assert maker.leaves([row]).digests == sealed_digest(row)
    assert len({sealed_digest(row) for row in rows}) == 6  # those of 0, 1, True and 2 are none


@given(
    st.integers(),
    st.tuples(texts, texts, st.none() | texts, texts, st.none() | texts),
    st.binary(min_size=32, max_size=32) | st.just(NO_DIGEST),
)
def test_a_leaf_is_the_json_that_the_documentation_names(number: int, values: Any, digest: bytes) -> None:
    attester, fact_id, notes, signature_hex, signed_at = values
    leaf = {
        "attestation_id": number, "attester": attester, "fact_id": fact_id, "notes": notes, "signed_at": signed_at,
        "payload_sha256": None if digest == NO_DIGEST else digest.hex(), "signature_hex": signature_hex,
    }  # fmt: skip
    expected = json.dumps(leaf, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert leaf_data(LogRow(number, attester, fact_id, notes, signature_hex, signed_at), digest) == expected


@given(log_rows, log_rows)
def test_no_two_rows_share_a_leaf(one: LogRow, other: LogRow) -> None:
    same = [(type(value), repr(value)) for value in one] == [(type(value), repr(value)) for value in other]
    assert (leaf_data(one, NO_DIGEST) == leaf_data(other, NO_DIGEST)) == same


def test_the_leaf_is_the_one_shown() -> None:
    record = Record("17", "https://example.org/法令", "2026-05-11T12:36:49.000Z", 0.45, 0.55)
    payload = encode(record, "etl_prov_backfill_v2")
    row = LogRow(1, "etl_prov_backfill_v2", "17", None, ROWS.sign(payload).hex(), "2026-05-12T01:23:45.000Z")
    data = leaf_data(row, sha256(payload).digest())
    assert f"```\n{data.decode()}\n```" in PAGE
    assert f"`{leaf_hash(data).hex()}`" in PAGE


def test_odd_storage_classes_are_spelt_as_shown() -> None:
    row = LogRow(1, -5, 0.5, b"\x00\xff", NotUtf8(b"\xc3\x28"), None)
    data = leaf_data(row, NO_DIGEST).decode()
    for spelt in ('{"$integer":"-5"}', '{"$real":"3fe0000000000000"}', '{"$blob":"00ff"}', '{"$text":"c328"}'):
        assert spelt in data and f"`{spelt}`" in PAGE


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_tree_grows_by_ranges_as_by_leaves(first: int, more: int) -> None:
    leaves = [sha256(number.to_bytes(4, "big")).digest() for number in range(first + more)]
    frontier = Frontier()
    grow(frontier, first, split_hashes(subtree_roots(0, b"".join(leaves[:first]))))
    grow(frontier, first + more, split_hashes(subtree_roots(first, b"".join(leaves[first:]))))
    assert (frontier.size, frontier.root()) == (first + more, root_of(leaves))


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_subtrees_are_aligned_and_leave_nothing_out(start: int, leaves: int) -> None:
    at = start
    for first, level in subtrees(start, start + leaves):
        assert first == at and first % (1 << level) == 0
        at += 1 << level
    assert at == start + leaves


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=9))
def test_marks_are_the_beginnings_of_the_hashes(hashes: list[bytes]) -> None:
    assert marks_of(b"".join(hashes)) == b"".join(one[:8] for one in hashes)
