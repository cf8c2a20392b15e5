"""Signed notes are read to the letter, and believed only where a known key signed."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.attestation.log.notes import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Note,
    NoteSignature,
    VerifierKey,
    decode_base64,
    encode_base64,
    sign,
    verify,
)
from tasks.attestation.signer import Signer, is_key_name
from tasks.core.errors import InvalidSignatureError, NoteError, PublicKeyError, UnverifiedNoteError

# The example of Go's golang.org/x/mod/sumdb/note: key, text and signature as they stand there.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# The example of the C2SP specification. Its public key is not printed there.
C2SP_NOTE = (
    "Ognuno sta solo sul cuor della terra\n"
    "trafitto da un raggio di sole:\n"
    "\n"
    "ed è subito sera.\n"
    "\n"
    "— quasimodo.example/salvatore "
    "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
)


def signer(name: str, seed: int = 1) -> Signer:
    return Signer(key_name=name, seed=seed.to_bytes(32, "big"))


def key_of(of: Signer) -> VerifierKey:
    return VerifierKey(of.key_name, of.public_key)


ONE, TWO = signer("example.org/one"), signer("example.org/two", 2)
TEXT = "a line\n\nanother, è\n"
NOTE = sign(TEXT, ONE, TWO)
LINE = str(NOTE.signatures[0])


# --- verifier keys ----------------------------------------------------------------------------------


def test_a_verifier_key_is_read_and_written_as_go_does() -> None:
    key = VerifierKey.parse(GO_VKEY)
    assert (key.name, key.note_key_id.hex(), str(key)) == ("PeterNeumann", "c74f20a3", GO_VKEY)


def test_the_key_id_of_a_note_begins_that_of_a_row() -> None:
    key = key_of(ONE)
    digest = hashlib.sha256(key.name.encode() + b"\n\x01" + key.public_key).digest()
    assert (key.key_id, key.note_key_id) == (digest[:8], digest[:4]) == (ONE.key_id, ONE.key_id[:4])


@given(name=st.text(min_size=1).filter(is_key_name), seed=st.integers(0, 2**256 - 1))
def test_every_verifier_key_is_read_back_as_it_was_written(name: str, seed: int) -> None:
    key = key_of(signer(name, seed))
    assert VerifierKey.parse(str(key)) == key


def test_no_part_of_a_verifier_key_and_no_change_of_a_character_is_one() -> None:
    cuts = [GO_VKEY[i:j] for i in range(len(GO_VKEY)) for j in range(i + 1, len(GO_VKEY) + 1)]
    changes = [GO_VKEY[:i] + chr(ord(GO_VKEY[i]) + 1) + GO_VKEY[i + 1 :] for i in range(len(GO_VKEY))]
    for vkey in ["", *cuts[: len(GO_VKEY) - 1], *cuts[len(GO_VKEY) :], *changes]:
        with pytest.raises(PublicKeyError):
            VerifierKey.parse(vkey)


def vkey(name: str, typed_key: bytes) -> str:
    """A vkey whose key id is right, whatever else is wrong."""
    key_id = hashlib.sha256(name.encode() + b"\n" + typed_key).digest()[:4]
    return f"{name}+{key_id.hex()}+{base64.b64encode(typed_key).decode()}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (vkey("k", b"\x01" + ONE.public_key + b"\x00"), "33 bytes, expected 32"),
        (vkey("k", b"\x01" + ONE.public_key[:-1]), "31 bytes, expected 32"),
        (vkey("k", b"\x02" + ONE.public_key), "not the base64 of 0x01"),
        (vkey("k", b"\x04" + ONE.public_key), "not the base64 of 0x01"),
        (vkey("k", b""), "not the base64 of 0x01"),
        (vkey("", b"\x01" + ONE.public_key), "name ''"),
        (vkey("a b", b"\x01" + ONE.public_key), "name 'a b'"),
        (vkey("a\u3000b", b"\x01" + ONE.public_key), "name 'a"),
        (vkey("a\x00b", b"\x01" + ONE.public_key), r"name 'a\\x00b'"),
        (vkey("k", b"\x01" + bytes(32)), "low order"),
        (vkey("k", b"\x01\x01" + bytes(31)), "low order"),
        (vkey("k", b"\x01\x02" + bytes(31)), "prime order"),
        (GO_VKEY.replace("c74f20a3", "C74F20A3"), "key id 'C74F20A3', but name and public key give 'c74f20a3'"),
        (GO_VKEY.replace("c74f20a3", "c74f20a4"), "key id 'c74f20a4'"),
        (GO_VKEY.replace("PeterNeumann", "PeterNewmann"), "key id 'c74f20a3', but"),
        (GO_VKEY + "\n", "not the base64"),
        (" " + GO_VKEY, "name ' PeterNeumann'"),
        (GO_VKEY.replace("+", "-"), "expected <name>"),
    ],
)
def test_a_verifier_key_that_is_wrong_in_one_way_is_refused_for_it(text: str, complaint: str) -> None:
    with pytest.raises(PublicKeyError, match=complaint):
        VerifierKey.parse(text)


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a\n", "a\tb", "\u00a0a", "a\u2028", "a+b", "a\x01", "a\x1f", "\ud800"]
)
def test_a_name_that_no_note_can_carry_is_no_key_name(name: str) -> None:
    assert not is_key_name(name)


@pytest.mark.parametrize("name", ["a", "example.org/log42", "è", "a\u200bb", "—", "a\x7f"])
def test_other_names_are_key_names(name: str) -> None:
    assert is_key_name(name)


# --- reading and writing ----------------------------------------------------------------------------


def test_the_example_of_the_specification_is_read() -> None:
    note = Note.parse(C2SP_NOTE.encode())
    assert note.text.endswith("sole:\n\ned è subito sera.\n")
    (line,) = note.signatures
    assert (line.name, line.key_id.hex(), len(line.signature)) == ("quasimodo.example/salvatore", "367ba04b", 64)
    assert note.encode().decode() == C2SP_NOTE


def test_a_note_reads_as_specified() -> None:
    expected = f"{TEXT}\n— example.org/one {base64.b64encode(ONE.key_id[:4] + ONE.sign(TEXT.encode())).decode()}\n"
    assert sign(TEXT, ONE).encode().decode() == expected


texts = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=32)).map(lambda text: f"{text}\n")
signatures = st.builds(
    NoteSignature,
    st.text(min_size=1, max_size=20).filter(is_key_name),
    st.binary(min_size=4, max_size=4),
    st.binary(min_size=1, max_size=100),
)


@given(
    text=st.lists(texts, min_size=1).map("".join) | st.just("\n\n\n"),
    lines=st.lists(signatures, min_size=1, max_size=5).map(tuple),
)
def test_every_note_is_read_back_as_it_was_written(text: str, lines: tuple[NoteSignature, ...]) -> None:
    note = Note(text, lines)
    assert Note.parse(note.encode()) == note


@given(data=st.binary() | st.text().map(str.encode))
def test_whatever_is_read_as_a_note_is_written_back_to_the_byte(data: bytes) -> None:
    for candidate in (data, b"a\n\n" + data, data + f"\n\n{LINE}\n".encode()):
        try:
            note = Note.parse(candidate)
        except NoteError:
            continue
        assert note.encode() == candidate


BASE64 = LINE.rpartition(" ")[2]


@pytest.mark.parametrize(
    "data",
    [
        "",
        "\n",
        "\n\n",
        "text\n",
        "text\n\n",
        "text\n\n\n",
        f"text\n{LINE}\n",
        f"{LINE}\n",
        f"\n{LINE}\n",
        f"text\n\n{LINE}",
        f"text\n\n{LINE}x",
        f"text\n\n{LINE}\n\n",
        f"text\n\n{LINE}\ngarbage\n",
        f"text\n\ngarbage\n{LINE}\n",
        f"text\n\n{LINE} \n",
        f"text\n\n {LINE}\n",
        f"text\r\n\r\n{LINE}\r\n",
        f"text\n\n{LINE}\r\n",
        f"te\x00xt\n\n{LINE}\n",
        f"te\txt\n\n{LINE}\n",
        f"text\n\n- example.org/one {BASE64}\n",
        f"text\n\n–{LINE[1:]}\n",
        f"text\n\n—example.org/one {BASE64}\n",
        f"text\n\n—  {BASE64}\n",
        f"text\n\n— {BASE64}\n",
        f"text\n\n— a+b {BASE64}\n",
        f"text\n\n— a\u00a0b {BASE64}\n",
        f"text\n\n— one  {BASE64}\n",
        f"text\n\n— one {BASE64[:-2]}\n",
        f"text\n\n— one {BASE64} {BASE64}\n",
        f"text\n\n— one {BASE64.replace('=', '')}\n",
        f"text\n\n— one {BASE64[:8]}\n".replace(BASE64[:8], "AAAAAB=="),  # bits after the end
        "text\n\n— one AAAAAA==\n",  # key id and no signature
        "text\n\n— one AAAA\n",
        "text\n\n— one =\n",
        "text\n\n— one AAAAAAA-\n",  # the other alphabet
    ],
)
def test_what_is_not_a_note_to_the_letter_is_refused(data: str) -> None:
    with pytest.raises(NoteError, match=r"^signed note: .*\.$"):
        Note.parse(data.encode())


@pytest.mark.parametrize("wrong", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"])
def test_what_is_not_utf_8_is_refused(wrong: bytes) -> None:
    with pytest.raises(NoteError, match="not UTF-8 at byte 2"):
        Note.parse(b"a " + wrong + f"\n\n{LINE}\n".encode())


@pytest.mark.parametrize("text", ["", "no newline", "a\x00\n", "a\r\n", "\ud800\n"])
def test_a_text_that_no_note_can_hold_is_not_written(text: str) -> None:
    with pytest.raises(NoteError):
        Note(text, NOTE.signatures)


def test_a_note_without_signatures_or_with_too_many_is_refused() -> None:
    (line, _) = NOTE.signatures
    assert Note.parse(Note(TEXT, (line,) * MAX_SIGNATURES).encode()).signatures == (line,) * MAX_SIGNATURES
    assert MAX_SIGNATURES >= 16
    for count in (0, MAX_SIGNATURES + 1):
        with pytest.raises(NoteError, match=f"{count} signatures, expected 1 to"):
            Note(TEXT, (line,) * count)


def test_a_note_that_is_too_long_is_neither_written_nor_read() -> None:
    longest = "a" * (MAX_NOTE_BYTES - len(f"\n\n{LINE}\n".encode())) + "\n"
    data = Note(longest, NOTE.signatures[:1]).encode()
    assert len(data) == MAX_NOTE_BYTES
    assert Note.parse(data).text == longest
    with pytest.raises(NoteError, match="expected at most"):
        Note("a" + longest, NOTE.signatures[:1]).encode()
    with pytest.raises(NoteError, match="expected at most"):
        Note.parse(b"a" + data)


@given(data=st.binary())
def test_base64_has_one_spelling(data: bytes) -> None:
    assert decode_base64(encode_base64(data)) == data
    for other in (encode_base64(data) + "=", " " + encode_base64(data), encode_base64(data) + "\n", "é"):
        assert decode_base64(other) is None


# --- who signed -------------------------------------------------------------------------------------


def test_the_example_of_go_is_signed_by_its_key() -> None:
    key = VerifierKey.parse(GO_VKEY)
    assert verify(Note.parse(GO_NOTE.encode()), [key]) == (key,)
    with pytest.raises(InvalidSignatureError):
        verify(Note.parse(GO_NOTE.replace("answer", "Answer").encode()), [key])


def test_verify_names_the_known_keys_that_signed_in_the_order_of_the_note() -> None:
    one, two, other = key_of(ONE), key_of(TWO), key_of(signer("example.org/other", 3))
    assert verify(NOTE, [two, other, one]) == (one, two)
    assert verify(NOTE, [two]) == (two,)


def test_a_note_that_no_known_key_signed_says_nothing() -> None:
    for keys in ([], [key_of(signer("example.org/other", 3))]):
        with pytest.raises(UnverifiedNoteError, match=r"it names example\.org/one \(key id [0-9a-f]{8}\), example"):
            verify(NOTE, keys)


def test_a_line_that_shares_only_name_or_only_key_id_with_a_known_key_is_passed_over() -> None:
    one = key_of(ONE)
    line, _ = NOTE.signatures
    namesake = replace(line, key_id=b"\x00\x00\x00\x00", signature=b"who knows")
    same_id = replace(line, name="example.org/else", signature=b"who knows")
    assert verify(Note(TEXT, (namesake, line, same_id)), [one]) == (one,)
    with pytest.raises(UnverifiedNoteError):
        verify(Note(TEXT, (namesake, same_id)), [one])


@pytest.mark.parametrize("signature", [bytes(64), bytes(63), b"x", TWO.sign(TEXT.encode()), ONE.sign(b"else")])
def test_a_known_key_whose_signature_does_not_verify_spoils_the_whole_note(signature: bytes) -> None:
    line, by_two = NOTE.signatures
    forged = replace(line, signature=signature)
    for lines in ((forged, by_two), (by_two, forged), (line, forged)):
        with pytest.raises(InvalidSignatureError, match=r"signature by example\.org/one"):
            verify(Note(TEXT, lines), [key_of(ONE), key_of(TWO)])


def test_a_line_that_stands_twice_counts_once() -> None:
    line, _ = NOTE.signatures
    assert verify(Note(TEXT, (line, line)), [key_of(ONE), key_of(ONE)]) == (key_of(ONE),)


def test_two_keys_of_one_name_and_key_id_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VerifierKey, "note_key_id", b"same")
    with pytest.raises(PublicKeyError, match=r"two keys are example\.org/one\+73616d65"):
        verify(NOTE, [key_of(ONE), replace(key_of(TWO), name=ONE.key_name)])


@given(at=st.integers(0, len(TEXT.encode()) - 2), bit=st.integers(0, 7))
def test_a_text_with_one_bit_changed_is_not_signed(at: int, bit: int) -> None:
    data = bytearray(NOTE.encode())
    data[at] ^= 1 << bit
    with pytest.raises(NoteError):
        verify(Note.parse(bytes(data)), [key_of(ONE)])
