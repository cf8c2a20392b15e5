"""Signed notes: a text and the signatures under it, in a form that people can read and machines cannot mistake.

    <text, any number of lines>
    <empty line>
    — <key name> <base64 of 4 bytes key id and the signature>
    ...

A signature is over the text in UTF-8, its last newline included. The text means nothing before
`verify` has named who signed it.

Source: https://c2sp.org/signed-note; limits as in Go's golang.org/x/mod/sumdb/note.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tasks.attestation.ed25519 import refuse_low_order
from tasks.attestation.ed25519 import verify as verify_signature
from tasks.attestation.signer import Signer, is_key_name, key_id
from tasks.core.errors import InvalidSignatureError, NoteError, PublicKeyError, UnverifiedNoteError
from tasks.core.terminal import cut

MAX_NOTE_BYTES: Final = 1_000_000
MAX_SIGNATURES: Final = 100
"""The specification asks for at least 16."""

_NOTE_KEY_ID_BYTES = 4
_ED25519_TYPE = b"\x01"
_SIGNATURE_LINE = re.compile("— (?P<name>[^ ]+) (?P<base64>[^ ]+)")
_CONTROL_BUT_NEWLINE = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True)
class VerifierKey:
    """An Ed25519 public key and its name: who is trusted to sign. As text, a C2SP vkey.

        <key name>+<8 hex digits key id>+<base64 of 0x01 and the 32 bytes of the public key>

    Raises PublicKeyError for a name that no note could carry, and for a public key that
    `refuse_low_order` refuses.
    """

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        if not is_key_name(self.name):
            raise PublicKeyError(
                f"name {self.name!r}", where="verifier key", seen='expected one without blanks, controls and "+"'
            )
        refuse_low_order(self.public_key)

    @property
    def key_id(self) -> bytes:
        """The 8 bytes that name the key in `ed25519_sig`."""
        return key_id(self.name, self.public_key)

    @property
    def note_key_id(self) -> bytes:
        """The 4 bytes that name the key in a signed note: the first half of `key_id`."""
        return self.key_id[:_NOTE_KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.note_key_id.hex()}+{encode_base64(_ED25519_TYPE + self.public_key)}"

    @classmethod
    def parse(cls, vkey: str) -> VerifierKey:
        """The key that a vkey holds. Raises PublicKeyError unless it is spelled exactly as `str` does.

        So the key id is checked against name and public key, and a public key has one spelling only.
        """
        parts = vkey.split("+", 2)  # base64 may hold more of them
        if len(parts) != 3:
            raise PublicKeyError("expected <name>+<key id>+<base64>", where=f"verifier key {cut(vkey, 200)}")
        name, stated_id, encoded = parts
        typed_key = decode_base64(encoded)
        if typed_key is None or typed_key[:1] != _ED25519_TYPE:
            raise PublicKeyError(
                "the part after the key id is not the base64 of 0x01 and an Ed25519 public key. Other "
                "types of keys are not supported",
                where=f"verifier key {cut(vkey, 200)}",
            )
        key = cls(name, typed_key[1:])
        if stated_id != key.note_key_id.hex():
            raise PublicKeyError(
                f"key id {stated_id!r}, but name and public key give {key.note_key_id.hex()!r}",
                where=f"verifier key {cut(vkey, 200)}",
                hint="One of the three was altered: get the key again from its owner",
            )
        return key


@dataclass(frozen=True)
class NoteSignature:
    """One signature line: who claims to have signed, and the bytes. Nothing here is verified."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"— {self.name} {encode_base64(self.key_id + self.signature)}"


@dataclass(frozen=True)
class Note:
    """A well-formed signed note. Nothing in it is verified: see `verify`.

    There is exactly one spelling of a note: `Note.parse(data).encode() == data`.
    Raises NoteError for a text or signatures that no note can hold.
    """

    text: str
    signatures: tuple[NoteSignature, ...]

    def __post_init__(self) -> None:
        objection = _objection_to_text(self.text) or _objection_to_signatures(self.signatures)
        if objection:
            raise NoteError(objection, where="signed note")

    def encode(self) -> bytes:
        """The note as it is stored and sent. Raises NoteError if it is longer than MAX_NOTE_BYTES."""
        lines = "".join(f"{signature}\n" for signature in self.signatures)
        data = f"{self.text}\n{lines}".encode()
        _check_length(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """The note in `data`, which must be nothing but the note.

        Raises NoteError for anything that the specification rules out: text that is not UTF-8,
        control characters, no signature, a signature line of another form, base64 that is not
        canonical. A line of an unknown key, or of a type that only others know, is none of these.
        """
        _check_length(data)
        try:
            decoded = data.decode()
        except UnicodeDecodeError as error:
            raise NoteError(f"not UTF-8 at byte {error.start}", where="signed note") from None
        split = decoded.rfind("\n\n")
        if split < 0 or not decoded.endswith("\n"):
            raise NoteError("expected text, an empty line, and signature lines", where="signed note")
        text, lines = decoded[: split + 1], decoded[split + 2 : -1]
        return cls(text, tuple(_parse_signature(line) for line in lines.split("\n")))


def sign(text: str, *signers: Signer) -> Note:
    """The note that these signers put their names under. Raises NoteError for a text no note can hold."""
    signatures = (
        NoteSignature(signer.key_name, signer.key_id[:_NOTE_KEY_ID_BYTES], signer.sign(text.encode()))
        for signer in signers
    )
    return Note(text, tuple(signatures))


def verify(note: Note, keys: Iterable[VerifierKey]) -> tuple[VerifierKey, ...]:
    """The known keys that signed the note, each once, in the order of the note. Never none.

    A signature line belongs to the known key of that name and key id; all others are passed over,
    as the specification demands. It is no fault if a line stands there twice.

    Raises InvalidSignatureError if a known key's signature does not verify, even if another's does,
    and UnverifiedNoteError if there is no line of a known key. Raises PublicKeyError if two of `keys`
    share name and key id.
    """
    known = _by_name_and_id(keys)
    signed_text = note.text.encode()
    signed_by: dict[VerifierKey, None] = {}
    for line in note.signatures:
        key = known.get((line.name, line.key_id))
        if key is None:
            continue
        if not verify_signature(key.public_key, signed_text, line.signature):
            raise InvalidSignatureError(
                f"the signature by {key.name} (key id {line.key_id.hex()}) does not verify. The text or "
                "the signature was altered, or someone else made it",
                where="signed note",
            )
        signed_by[key] = None
    if not signed_by:
        claimed = ", ".join(sorted({f"{line.name} (key id {line.key_id.hex()})" for line in note.signatures}))
        raise UnverifiedNoteError(f"signed by no known key; it names {claimed}", where="signed note")
    return tuple(signed_by)


def _by_name_and_id(keys: Iterable[VerifierKey]) -> dict[tuple[str, bytes], VerifierKey]:
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        same = known.setdefault((key.name, key.note_key_id), key)
        if same != key:
            raise PublicKeyError(
                f"two keys are {key.name}+{key.note_key_id.hex()}", where="verifier keys", seen="expected one"
            )
    return known


def encode_base64(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648, section 4)."""
    return base64.b64encode(data).decode()


def decode_base64(text: str) -> bytes | None:
    """The bytes that `encode_base64` spells as `text`, or None: there is one spelling for each."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return data if encode_base64(data) == text else None


def _parse_signature(line: str) -> NoteSignature:
    found = _SIGNATURE_LINE.fullmatch(line)
    signature = decode_base64(found["base64"]) if found else None
    if found is None or signature is None:
        raise NoteError(f"{line[:80]!r}", where="signed note", seen="expected a signature line: — <key name> <base64>")
    return NoteSignature(found["name"], signature[:_NOTE_KEY_ID_BYTES], signature[_NOTE_KEY_ID_BYTES:])


def _objection_to_text(text: str) -> str | None:
    if not text.endswith("\n"):
        return "the text does not end in a newline"
    found = _CONTROL_BUT_NEWLINE.search(text)
    if found:
        return f"control character U+{ord(found[0]):04X} in the text"
    return None if _is_unicode(text) else "the text holds half a surrogate pair"


def _objection_to_signatures(signatures: tuple[NoteSignature, ...]) -> str | None:
    if not 1 <= len(signatures) <= MAX_SIGNATURES:
        return f"{len(signatures)} signatures, expected 1 to {MAX_SIGNATURES}"
    for one in signatures:
        if not is_key_name(one.name):
            return f'key name {one.name!r}, expected one without blanks, controls and "+"'
        if len(one.key_id) != _NOTE_KEY_ID_BYTES or not one.signature:
            return f"the signature by {one.name} is too short to hold a key id and a signature"
    return None


def _check_length(data: bytes) -> None:
    if len(data) > MAX_NOTE_BYTES:
        raise NoteError(f"{len(data)} bytes", where="signed note", seen=f"expected at most {MAX_NOTE_BYTES}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
