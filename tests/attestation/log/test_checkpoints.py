"""Checkpoints and proofs of inclusion: one spelling each, and nothing believed that is not signed."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.attestation.log.checkpoints import MAX_PROOF_BYTES, MAX_SIZE, Checkpoint, InclusionProof, open_checkpoint
from tasks.attestation.log.merkle import EMPTY_ROOT, leaf_hash, root_of
from tasks.attestation.log.merkle_proofs import inclusion_proof
from tasks.attestation.log.notes import Note, VerifierKey, sign
from tasks.attestation.signer import Signer
from tasks.core.errors import InvalidSignatureError, NoteError, UnverifiedNoteError

# The example of the C2SP specifications, the log's own signature and a witness's. No key is printed there.
C2SP_CHECKPOINT = (
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
ROOT = base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")

SIGNER = Signer(key_name="example.org/log", seed=bytes(31) + b"\x07")
KEY = VerifierKey(SIGNER.key_name, SIGNER.public_key)
OTHER = Signer(key_name="example.org/other", seed=bytes(31) + b"\x08")
HASHES = [leaf_hash(bytes([number])) for number in range(11)]


def some(start: int, end: int) -> list[bytes]:
    return HASHES[start:end]


LOG = Checkpoint("example.org/log", len(HASHES), root_of(HASHES))
SIGNED = sign(LOG.text, SIGNER).encode()
PROOF = InclusionProof(6, tuple(inclusion_proof(6, len(HASHES), some)), SIGNED, extra=b"what goes along")

# --- checkpoints ------------------------------------------------------------------------------------


def test_the_example_of_the_specification_is_read() -> None:
    note = Note.parse(C2SP_CHECKPOINT.encode())
    checkpoint = Checkpoint.parse(note.text)
    assert checkpoint == Checkpoint("example.com/behind-the-sofa", 20852163, ROOT)
    assert checkpoint.text == note.text
    assert [line.name for line in note.signatures] == ["example.com/behind-the-sofa", "witness.example.com/w1"]


lines = st.text(st.characters(exclude_characters="\n"), min_size=1)


@given(
    origin=lines,
    size=st.integers(1, MAX_SIZE),
    root=st.binary(min_size=32, max_size=32),
    extensions=st.lists(lines, max_size=3).map(tuple),
)
def test_every_checkpoint_is_read_back_as_it_was_written(
    origin: str, size: int, root: bytes, extensions: tuple[str, ...]
) -> None:
    checkpoint = Checkpoint(origin, size, root, extensions)
    assert Checkpoint.parse(checkpoint.text) == checkpoint


@given(text=st.text() | st.lists(st.text(), max_size=4).map("\n".join))
def test_whatever_is_read_as_a_checkpoint_is_written_back_to_the_letter(text: str) -> None:
    for candidate in (text, f"log\n{text}", f"log\n3\n{text}", LOG.text + text):
        try:
            checkpoint = Checkpoint.parse(candidate)
        except NoteError:
            continue
        assert checkpoint.text == candidate


B64 = base64.b64encode(ROOT).decode()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "at least three lines"),
        ("log\n3\n", "at least three lines"),
        (f"log\n3\n{B64}", "at least three lines"),
        (f"log\n3\n{B64}\nextension", "at least three lines"),
        (f"\n3\n{B64}\n", "one line each, and not empty"),
        (f"log\n3\n{B64}\n\n", "one line each, and not empty"),
        (f"log\n03\n{B64}\n", "size '03'"),
        (f"log\n00\n{B64}\n", "size '00'"),
        (f"log\n+3\n{B64}\n", r"size '\+3'"),
        (f"log\n-1\n{B64}\n", "size '-1'"),
        (f"log\n 3\n{B64}\n", "size ' 3'"),
        (f"log\n3 \n{B64}\n", "size '3 '"),
        (f"log\n3_0\n{B64}\n", "size '3_0'"),
        (f"log\n٣\n{B64}\n", "size '٣'"),
        (f"log\n\n{B64}\n", "size ''"),
        (f"log\n{MAX_SIZE + 1}\n{B64}\n", f"size {MAX_SIZE + 1}, expected 0 to"),
        (f"log\n{'9' * 5000}\n{B64}\n", "size '9999"),
        (f"log\n0\n{B64}\n", "that of the empty tree"),
        (f"log\n3\n{B64[:-1]}\n", "root"),
        (f"log\n3\n{B64[:-2]}J=\n", "root"),  # bits after the end
        (f"log\n3\n {B64}\n", "root"),
        (f"log\n3\n{base64.b64encode(ROOT[1:]).decode()}\n", "a root of 31 bytes"),
        (f"log\n3\n{base64.b64encode(ROOT + ROOT).decode()}\n", "a root of 64 bytes"),
        ("log\n3\n\n", "a root of 0 bytes"),
    ],
)
def test_what_is_not_a_checkpoint_to_the_letter_is_refused_for_it(text: str, complaint: str) -> None:
    with pytest.raises(NoteError, match=f"^checkpoint: .*{complaint}"):
        Checkpoint.parse(text)


def test_an_origin_with_a_newline_cannot_speak_for_another_checkpoint() -> None:
    with pytest.raises(NoteError, match="one line each"):
        Checkpoint(f"log\n999\n{B64}", 3, ROOT)


def test_an_empty_log_has_a_checkpoint_of_its_own() -> None:
    assert Checkpoint.parse(Checkpoint("log", 0, EMPTY_ROOT).text).size == 0


def test_a_checkpoint_is_opened_only_with_a_key_that_signed_it() -> None:
    assert open_checkpoint(SIGNED, [KEY]) == LOG
    with pytest.raises(UnverifiedNoteError):
        open_checkpoint(SIGNED, [VerifierKey(OTHER.key_name, OTHER.public_key)])
    with pytest.raises(InvalidSignatureError):
        open_checkpoint(SIGNED.replace(b"\n11\n", b"\n10\n"), [KEY])


def test_a_signed_text_that_is_no_checkpoint_is_refused() -> None:
    with pytest.raises(NoteError, match=r"^checkpoint:"):
        open_checkpoint(sign("just\na text\n", SIGNER).encode(), [KEY])


# --- proofs of inclusion ----------------------------------------------------------------------------


def test_a_proof_reads_as_specified() -> None:
    path = "".join(f"{base64.b64encode(one).decode()}\n" for one in PROOF.hashes)
    head = f"c2sp.org/tlog-proof@v1\nextra {base64.b64encode(b'what goes along').decode()}\nindex 6\n{path}\n"
    assert PROOF.encode() == head.encode() + SIGNED
    assert replace(PROOF, extra=None).encode() == head.encode().replace(b"extra d2hhdCBnb2VzIGFsb25n\n", b"") + SIGNED


@given(data=st.data(), size=st.integers(1, len(HASHES)), extra=st.none() | st.binary(min_size=1))
def test_every_proof_is_read_back_as_it_was_written_and_holds(
    data: st.DataObject, size: int, extra: bytes | None
) -> None:
    index = data.draw(st.integers(0, size - 1))
    checkpoint = Checkpoint("example.org/log", size, root_of(HASHES[:size]), ("an extension",))
    signed = sign(checkpoint.text, SIGNER, OTHER).encode()
    proof = InclusionProof(index, tuple(inclusion_proof(index, size, some)), signed, extra)
    assert InclusionProof.parse(proof.encode()) == proof
    assert proof.verify(HASHES[index], [KEY]) == checkpoint


def test_a_proof_holds_for_one_leaf_at_one_place_under_one_key() -> None:
    other_key = VerifierKey(OTHER.key_name, OTHER.public_key)
    for proof, leaf in (
        (PROOF, HASHES[5]),
        (replace(PROOF, index=5), HASHES[6]),
        (replace(PROOF, index=70), HASHES[6]),
    ):
        with pytest.raises(NoteError, match=r"is not shown to be leaf \d+ of example\.org/log at size 11"):
            proof.verify(leaf, [KEY])
    with pytest.raises(UnverifiedNoteError):
        PROOF.verify(HASHES[6], [other_key])


@given(at=st.integers(0, len(PROOF.encode()) - 1), bit=st.integers(0, 7))
def test_a_proof_with_one_bit_changed_fails_unless_it_is_in_the_extra_data(at: int, bit: int) -> None:
    data = bytearray(PROOF.encode())
    data[at] ^= 1 << bit
    try:
        proof = InclusionProof.parse(bytes(data))
        proof.verify(HASHES[6], [KEY])
    except NoteError:
        return
    assert replace(proof, extra=PROOF.extra) == PROOF


HEAD, _, TAIL = PROOF.encode().partition(b"index 6\n")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"c2sp.org/tlog-proof@v1",
        b"c2sp.org/tlog-proof@v1\n",
        b"c2sp.org/tlog-proof@v1\n\n" + SIGNED,
        PROOF.encode().replace(b"@v1", b"@v2"),
        b"\n" + PROOF.encode(),
        b" " + PROOF.encode(),
        PROOF.encode().replace(b"\n", b"\r\n"),
        HEAD + HEAD.partition(b"\n")[2] + b"index 6\n" + TAIL,
        HEAD.replace(b"extra ", b"Extra ") + b"index 6\n" + TAIL,
        b"c2sp.org/tlog-proof@v1\nindex 6\nextra AAAA\n" + TAIL,
        b"c2sp.org/tlog-proof@v1\nextra \nindex 6\n" + TAIL,
        b"c2sp.org/tlog-proof@v1\nextra\nindex 6\n" + TAIL,
        HEAD + TAIL,
        HEAD + b"index 06\n" + TAIL,
        HEAD + b"index -6\n" + TAIL,
        HEAD + b"index  6\n" + TAIL,
        HEAD + b"index 6\nindex 6\n" + TAIL,
        HEAD + b"index " + str(MAX_SIZE).encode() + b"\n" + TAIL,
        HEAD + b"index 6\n" + TAIL.replace(b"=\n", b"\n", 1),
        HEAD + b"index 6\nAAAA\n" + TAIL,
        HEAD + b"index 6\n\n" + TAIL,
        HEAD + b"index 6\n" + TAIL.partition(b"\n\n")[0] * 20 + b"\n\n" + SIGNED,
        HEAD + b"index 6\n" + TAIL[:-1],
        HEAD + b"index 6\n" + TAIL + b"\n",
        "c2sp.org/tlog-proof@v1\nindex ６\n\n".encode() + SIGNED,
        HEAD + b"index 6\n\n" + sign("just\na text\n", SIGNER).encode(),
    ],
)
def test_what_is_not_a_proof_to_the_letter_is_refused(data: bytes) -> None:
    with pytest.raises(NoteError):
        InclusionProof.parse(data)


def test_a_proof_that_is_too_long_is_neither_written_nor_read() -> None:
    with pytest.raises(NoteError, match="expected at most"):
        replace(PROOF, extra=bytes(MAX_PROOF_BYTES)).encode()
    with pytest.raises(NoteError, match="expected at most"):
        InclusionProof.parse(PROOF.encode() + b"\n" * MAX_PROOF_BYTES)


@pytest.mark.parametrize(
    "change",
    [
        {"index": -1},
        {"hashes": (bytes(31),)},
        {"hashes": (bytes(32),) * 64},
        {"extra": b""},
        {"checkpoint": b"no note"},
    ],
)
def test_values_that_no_proof_can_hold_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(NoteError):
        replace(PROOF, **change)  # type: ignore[arg-type]
