"""Signatures that others can check, and a private key that nothing shows."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nacl.bindings import crypto_sign_open

from tasks.attestation.payload import encode
from tasks.attestation.signature_column import PLACEHOLDER, PLACEHOLDER_HEX, VERSION
from tasks.attestation.signer import Signer, key_id, load_signer
from tasks.core.errors import SigningKeyError
from tasks.core.values import Record

ENV = "AUTONOMATH_FACT_SIGN_PRIVATE_KEY"
NAME = "provenance-backfill/golden"
SEED = bytes(range(0x60, 0x80))
VECTORS = Path(os.environ.get("PROVENANCE_VECTORS", Path(__file__).parents[3] / "shared" / "vectors"))


def load(
    text: str | None = None,
    *,
    file: Path | None = None,
    name: str = NAME,
    env: str | None = ENV,
) -> Signer | None:
    environ = {"HOME": "/"} if text is None else {"HOME": "/", ENV: text}
    return load_signer(key_name=name, key_env=env, key_file=file, environ=environ)


def refusal(text: str | None = None, **options: Any) -> str:
    with pytest.raises(SigningKeyError) as caught:
        load(text, **options)
    message = str(caught.value)
    assert message.startswith("signing key: ")
    assert message.endswith(". Nothing was written.")
    return message


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "signing.key"
    path.touch(mode=0o600)
    path.write_text(SEED.hex())
    return path


# --- signatures ------------------------------------------------------------------------------------

RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("seed", "public_key", "message", "signature"), RFC_8032)
def test_the_bare_signature_is_that_of_rfc_8032(seed: str, public_key: str, message: str, signature: str) -> None:
    signer = Signer(key_name=NAME, seed=bytes.fromhex(seed))
    assert signer.public_key.hex() == public_key
    assert signer.sign(bytes.fromhex(message)).hex() == signature


def vector(signature_hex: str, payload: str, **record: object) -> dict[str, object]:
    return {
        "record": record,
        "payload_hex": payload.encode().hex(),
        "signature_hex": signature_hex,
        "ed25519_sig_hex": f"0100000000000000{signature_hex}d1af2735e4663220",
    }


# Computed from RFC 8032's formulas in plain integers, not with the library under test.
GOLDEN: dict[str, Any] = {
    "seed_hex": SEED.hex(),
    "public_key_hex": "174553b456dddfc6908ecab1c101fe6ab21e2baa0617795b7d43a63482993fd5",
    "key_name": NAME,
    "key_id_hex": "d1af2735e4663220",
    "placeholder_hex": "00" * 64,
    "vectors": [
        vector(
            "7113a35e024191e1ca786234a7c951b4731ec7a765596d2c76a725bd7c44c63f"
            "ddd5a1fb49b6d5ed5ce264eccdcaf25653601e18ecac3ea649641cd69176e701",
            '{"confidence_lower":0.45,"confidence_upper":0.55,"extracted_at":"2026-05-11T12:36:49.000Z",'
            '"fact_id":"17","source_doc":"https://example.org/laws/17","verified_by":"etl_prov_backfill_v2"}',
            fact_id="17",
            source_doc="https://example.org/laws/17",
            extracted_at="2026-05-11T12:36:49.000Z",
            verified_by="etl_prov_backfill_v2",
            confidence_lower=0.45,
            confidence_upper=0.55,
        ),
        vector(
            "6127af18809f4b4e36c174223a289947247f5f5f92f84961c4d5651d29804b78"
            "57f8f45cb5eb14cc7f5e163b1e1ab4bced8a0cb30bfb4a0e5fe8fb01ae10cc09",
            '{"confidence_lower":null,"confidence_upper":null,"extracted_at":"0001-01-01T00:00:00.000Z",'
            '"fact_id":"-1","source_doc":null,"verified_by":"etl_prov_backfill_v2"}',
            fact_id="-1",
            source_doc=None,
            extracted_at="0001-01-01T00:00:00.000Z",
            verified_by="etl_prov_backfill_v2",
            confidence_lower=None,
            confidence_upper=None,
        ),
        vector(
            "119299eac50df0d9d8a89a7018381a35126c6a0bb45cc542c93724e402d31c61"
            "e618271c72bce4c7f48ed3ef2e3b94ecbdee3d5ebd3f3252563a7d3ce3602a09",
            '{"confidence_lower":0.0,"confidence_upper":1.0,"extracted_at":"9999-12-31T23:59:59.999Z",'
            r'"fact_id":"F-\"1\"\\\u0000\n",'
            '"source_doc":"https://例え.jp/法令?q=\U0001f600\x7f\u2028",'
            r'"verified_by":"検証 \"v2\""}',
            fact_id='F-"1"\\\x00\n',
            source_doc="https://例え.jp/法令?q=\U0001f600\x7f\u2028",
            extracted_at="9999-12-31T23:59:59.999Z",
            verified_by='検証 "v2"',
            confidence_lower=0.0,
            confidence_upper=1.0,
        ),
        vector(
            "52d4c4334637ae2a227eeb4eafad0a902b589481f6c4775bf9f009a38e40704e"
            "32db24bc3bbb6aec6940d68b3c8f022a7b93650bfeded2b10315bb57f29e100d",
            '{"confidence_lower":1e-09,"confidence_upper":0.30000000000000004,'
            '"extracted_at":"2026-05-11T12:36:49.123Z","fact_id":"","source_doc":" ","verified_by":"x"}',
            fact_id="",
            source_doc=" ",
            extracted_at="2026-05-11T12:36:49.123Z",
            verified_by="x",
            confidence_lower=1e-9,
            confidence_upper=0.1 + 0.2,
        ),
    ],
}


def assert_vectors_hold(expected: dict[str, Any]) -> None:
    signer = Signer(key_name=expected["key_name"], seed=bytes.fromhex(expected["seed_hex"]))
    assert signer.public_key.hex() == expected["public_key_hex"]
    assert signer.key_id.hex() == expected["key_id_hex"]
    assert expected["placeholder_hex"] == PLACEHOLDER_HEX
    for case in expected["vectors"]:
        fields = dict(case["record"])
        payload = encode(verified_by=fields.pop("verified_by"), record=Record(**fields))
        assert payload.hex() == case["payload_hex"]
        assert signer.sign(payload).hex() == case["signature_hex"]
        assert signer.blob(payload).hex() == case["ed25519_sig_hex"]


def test_golden_vectors_hold() -> None:
    assert_vectors_hold(GOLDEN)


def test_published_vectors_hold() -> None:
    path = VECTORS / "signatures.json"
    if not path.exists():
        pytest.skip(f"no published vectors at {path}; PROVENANCE_VECTORS names their folder")
    published = json.loads(path.read_text(encoding="utf-8"))
    assert published["vectors"]
    assert_vectors_hold(published)


def test_a_blob_is_version_signature_and_key_id() -> None:
    signer = Signer(key_name=NAME, seed=SEED)
    blob = signer.blob(b"payload")
    assert (blob[:8], blob[8:72], blob[72:]) == (VERSION, signer.sign(b"payload"), signer.key_id)
    assert len(blob) == 80
    assert crypto_sign_open(blob[8:72] + b"payload", signer.public_key) == b"payload"


def test_the_placeholder_is_64_zero_bytes_and_128_zeros() -> None:
    assert bytes(64) == PLACEHOLDER
    assert PLACEHOLDER_HEX == "0" * 128
    assert bytes.fromhex("0100000000000000") == VERSION


def test_the_key_id_begins_the_hash_of_a_signed_note_key() -> None:
    public_key = bytes(range(32))
    assert key_id("example.org/k", public_key) == hashlib.sha256(b"example.org/k\n\x01" + public_key).digest()[:8]


@pytest.mark.parametrize("name", ["", " ", "a b", "a\n", "\u3000a", "a+b", "+", "a\x01", "\ud800"])
def test_a_key_name_that_no_signed_note_could_carry_is_refused(name: str) -> None:
    assert repr(name) in refusal(SEED.hex(), name=name)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="Invalid seed"):
        Signer(key_name=NAME, seed=bytes(length))


# --- loading the key -------------------------------------------------------------------------------


@pytest.mark.parametrize("env", [None, ENV])
def test_no_key_configured_means_no_signer(env: str | None) -> None:
    assert load(env=env) is None


def test_a_variable_that_the_job_file_does_not_name_is_no_key() -> None:
    assert load(SEED.hex(), env=None) is None


@pytest.mark.parametrize("text", [SEED.hex(), SEED.hex().upper()])
def test_the_key_is_taken_from_the_environment(text: str) -> None:
    signer = load(text)
    assert signer is not None
    assert (signer.key_name, signer.key_id.hex()) == (NAME, GOLDEN["key_id_hex"])


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
@pytest.mark.parametrize("content", ["{}", "{}\n", " \t{}\r\n\n"])
def test_the_key_is_taken_from_a_private_file(key_file: Path, mode: int, content: str) -> None:
    key_file.write_text(content.format(SEED.hex()))
    key_file.chmod(mode)
    signer = load(file=key_file)
    assert signer is not None
    assert signer.key_id.hex() == GOLDEN["key_id_hex"]


def test_a_key_file_may_be_a_link(key_file: Path) -> None:
    link = key_file.with_name("link")
    link.symlink_to(key_file)
    assert load(file=link) is not None


MALFORMED = [
    (SEED.hex()[:-1], "has 63 hex digits, expected 64"),
    (SEED.hex() + "a", "has 65 hex digits, expected 64"),
    ("7", "has 1 hex digits, expected 64"),
    (SEED.hex()[:-1] + "g", "has characters that are not hex digits (1 of 64), expected 64"),
    ("0x" + SEED.hex(), "has characters that are not hex digits (1 of 66), expected 64"),
    ("７" * 64, "has characters that are not hex digits"),
    (" ".join(f"{byte:02x}" for byte in SEED), "has characters that are not hex digits (31 of 95)"),
    ("", "is empty, expected 64 hex digits"),
    (" \n", "is empty, expected 64 hex digits"),
]


@pytest.mark.parametrize(("text", "complaint"), MALFORMED)
def test_a_malformed_key_in_the_environment_is_refused(text: str, complaint: str) -> None:
    assert refusal(text).startswith(f"signing key: {ENV} {complaint}")


@pytest.mark.parametrize(("text", "complaint"), MALFORMED)
def test_a_malformed_key_in_a_file_is_refused(key_file: Path, text: str, complaint: str) -> None:
    key_file.write_text(text, encoding="utf-8")
    assert refusal(file=key_file).startswith(f"signing key: {key_file} {complaint.partition(' (')[0]}")


def test_blanks_around_the_key_in_the_environment_are_refused() -> None:
    assert "not hex digits (1 of 65)" in refusal(SEED.hex() + "\n")


@pytest.mark.parametrize("text", ["", SEED.hex(), "zz"])
def test_two_keys_are_one_too_many(key_file: Path, text: str) -> None:
    message = refusal(text, file=key_file)
    assert "two keys are configured" in message
    assert ENV in message
    assert str(key_file) in message


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o604, 0o601, 0o777])
def test_a_key_file_that_others_may_open_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    assert f"has mode {mode:04o}, expected 0600 or stricter: chmod 600 {key_file}" in refusal(file=key_file)


def missing(path: Path) -> None:
    path.unlink()


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir(mode=0o700)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def too_long(path: Path) -> None:
    path.write_bytes(b"0" * 4097)


def not_text(path: Path) -> None:
    path.write_bytes(b"\xff" * 64)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (missing, "cannot be read (No such file or directory)"),
        (loop, "cannot be read (Too many levels of symbolic links)"),
        (folder, "cannot be read (it is a folder, expected a regular file)"),
        (fifo, "cannot be read (it is a named pipe, expected a regular file)"),
        (too_long, "has 4097 bytes, expected 64 hex digits"),
        (not_text, "has characters that are not hex digits (64 of 64)"),
    ],
)
def test_what_is_no_readable_key_file_is_refused(
    key_file: Path, damage: Callable[[Path], None], complaint: str
) -> None:
    damage(key_file)
    assert f"{key_file} {complaint}" in refusal(file=key_file)


def test_a_path_that_cannot_exist_is_refused() -> None:
    assert "cannot be read (embedded null byte)" in refusal(file=Path("a\x00b"))


# --- the private key stays private -----------------------------------------------------------------


def shows_key(text: str, secret: str = SEED.hex()) -> bool:
    """Whether some text holds the key in hex, as bytes or as numbers, or half of it."""
    raw = bytes.fromhex(secret) if len(secret) % 2 == 0 else b""
    forms = [secret, secret[:32], secret[-32:], repr(raw[:16])[2:-1], str(list(raw[:16]))[1:-1]]
    return any(form and form.lower() in text.lower() for form in forms)


def test_the_check_itself_finds_a_shown_key() -> None:
    assert all(map(shows_key, [f"<{SEED.hex().upper()}>", f"sk={SEED + bytes(32)!r}", str([*SEED])]))


def test_a_signer_shows_its_name_and_key_id_but_not_its_key() -> None:
    signer = Signer(key_name=NAME, seed=SEED)
    assert repr(signer) == str(signer) == f"Signer(key_name='{NAME}', key_id=d1af2735e4663220)"
    assert not hasattr(signer, "__dict__")
    for attribute in dir(signer):
        assert not shows_key(repr(getattr(signer, attribute)))


@pytest.mark.parametrize("carry", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_signer_is_neither_pickled_nor_copied(carry: Callable[[Signer], object]) -> None:
    with pytest.raises(TypeError, match="private key"):
        carry(Signer(key_name=NAME, seed=SEED))


def traceback_with_locals(fail: Callable[[], object]) -> str:
    """The traceback of a failure as the most talkative logger shows it, less the frames of this file."""
    with pytest.raises(Exception) as caught:
        fail()
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown.stack[:] = [frame for frame in shown.stack if frame.filename != __file__]
    assert len(shown.stack)
    return "".join(shown.format())


@pytest.mark.parametrize(
    "fail",
    [
        lambda: load(SEED.hex(), name="a b"),
        lambda: load(SEED.hex(), file=Path("signing.key")),
        lambda: Signer(key_name=NAME, seed=SEED).sign("text"),  # type: ignore[arg-type]
        lambda: Signer(key_name=NAME, seed=SEED).blob("text"),  # type: ignore[arg-type]
        lambda: pickle.dumps(Signer(key_name=NAME, seed=SEED)),
    ],
)
def test_no_traceback_shows_the_key(fail: Callable[[], object]) -> None:
    assert not shows_key(traceback_with_locals(fail))


@pytest.mark.parametrize("text", [SEED.hex()[:-1], SEED.hex() + "ab", SEED.hex() + "z", SEED.hex() + "\n"])
def test_no_refusal_shows_a_malformed_key(key_file: Path, text: str) -> None:
    assert not shows_key(traceback_with_locals(lambda: load(text)))
    key_file.write_text(text + "x")
    assert not shows_key(traceback_with_locals(lambda: load(file=key_file)))
