"""What SQL says of a signature column is what the one parse rule says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import apsw
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tasks.attestation.signature_column import PLACEHOLDER, VERSION, SignatureColumn, build, parse
from tasks.stores.sqlite.sql.signature_column import is_placeholder, key_id, may_be_signed

ASK = f"SELECT {is_placeholder('c')}, {may_be_signed('c')}, {key_id('c')} FROM (SELECT ? AS c)"

parts = st.sampled_from([b"\0", b"\1", b"\xff"])
signed = st.builds(build, st.binary(min_size=64, max_size=64), st.binary(min_size=8, max_size=8))
columns = st.one_of(
    signed,
    signed.map(lambda column: b"\2" + column[1:]),
    st.builds(lambda byte, length: byte * length, parts, st.sampled_from([0, 1, 63, 64, 65, 72, 79, 80, 81])),
    st.binary(max_size=96),
    st.text(max_size=80),
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False),
)


@pytest.fixture(scope="module")
def connection() -> Iterator[apsw.Connection]:
    with closing(apsw.Connection(":memory:")) as opened:
        yield opened


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(columns)
@example(PLACEHOLDER)
@example(build(bytes(64), b"key id 8"))
@example("\0" * 64)
@example("\0" * 80)
def test_sql_and_python_read_one_signature_column(connection: apsw.Connection, column: Any) -> None:
    found = parse(column)
    placeholder, maybe_signed, key = connection.execute(ASK, (column,)).fetchall()[0]
    assert bool(placeholder) == (isinstance(found, SignatureColumn) and found.is_placeholder)
    if isinstance(found, SignatureColumn) and found.key_id is not None:
        assert (maybe_signed, key) == (1, found.key_id)
    if maybe_signed:
        assert type(column) is bytes and len(column) == len(build(bytes(64), bytes(8)))
        assert not isinstance(found, str) or column[:8] != VERSION or not any(column[8:72])
