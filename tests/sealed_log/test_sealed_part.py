"""A sealer goes on from nothing but what was sealed: what it sees of it on its way has to be that."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.core.errors import SealError

TAMPERINGS = {
    "a row of the first tile is missing": (
        "DELETE FROM am_fact_attestation_log WHERE attestation_id = 3",
        r"rows 1 to 8 of the attestation log: 7, but 8 were sealed, as the leaves from 0 on: 1 missing",
    ),
    "a row was put before the first": (
        "INSERT INTO am_fact_attestation_log VALUES (-7, 'x', 'x', 'x', hex(zeroblob(64)), NULL)",
        r"rows 1 to 8 of the attestation log: 9, but 8 were sealed, as the leaves from 0 on: 1 inserted",
    ),
    "a row was put between": (
        "INSERT INTO am_fact_attestation_log VALUES (122, 'x', 'x', 'x', hex(zeroblob(64)), NULL)",
        r"rows 9 to \d+ of the attestation log: 8, but 7 were sealed, as the leaves from 8 on: 1 inserted",
    ),
    "a row of the last tile is another": (
        "UPDATE am_fact_attestation_log SET signed_at = '2020' WHERE attestation_id = (SELECT max(attestation_id) "
        "FROM am_fact_attestation_log)",
        r"row \d+ of the attestation log, leaf 22: it, or what its tile keeps of it, is not what was sealed",
    ),
    "a digest of the last tile is another": (
        "UPDATE am_attestation_tile SET payload_digests = zeroblob(32 * leaves) WHERE first_leaf = 15",
        r"leaf 15: it, or what its tile keeps of it, is not what was sealed",
    ),
    "the roots of a tile are others": (
        "UPDATE am_attestation_tile SET subtree_roots = zeroblob(length(subtree_roots)) WHERE first_leaf = 8",
        r"tiles of the sealed log: 23 leaves with root",
    ),
    "a tile is gone": (
        "DELETE FROM am_attestation_tile WHERE first_leaf = 8",
        r"tiles of the sealed log: at leaf 8: the next tile begins at leaf 15",
    ),
    "all tiles are gone": ("DELETE FROM am_attestation_tile", r"tiles of the sealed log: 0 leaves"),
    "a tile was added": (
        "INSERT INTO am_attestation_tile SELECT 23, 1, 10000, 10000, zeroblob(32), NULL, zeroblob(8), zeroblob(32)",
        r"tiles of the sealed log: 24 leaves",
    ),
}


@pytest.mark.parametrize("what", TAMPERINGS)
@pytest.mark.parametrize("with_new_rows", [True, False], ids=["new rows", "nothing new"])
def test_a_sealer_refuses_and_names_what_it_sees(sealed: Any, what: str, with_new_rows: bool) -> None:
    tampering, words = TAMPERINGS[what]
    if "of the last tile" in what and not with_new_rows:
        pytest.skip("nothing is put beside it")
    sealed.execute(tampering)
    if with_new_rows:
        sealed.attest("new")
    before = sealed.execute("SELECT * FROM am_attestation_tile"), len(sealed.checkpoints)
    with pytest.raises(
        SealError, match=rf"{words}.*Audit the log against a checkpoint that you kept. Nothing was written"
    ):
        sealed.seal()
    assert (sealed.execute("SELECT * FROM am_attestation_tile"), len(sealed.checkpoints)) == before
    assert not sealed.audit().clean


def test_what_was_sealed_and_left_alone_is_gone_on_from(sealed: Any) -> None:
    for number in range(3):
        sealed.attest(f"new-{number}")
        assert sealed.seal().new_leaves == 1
    assert sealed.audit().clean
