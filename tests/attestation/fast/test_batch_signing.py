"""Many signatures at once: the same bytes as one at a time, whoever makes them."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sysconfig
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nacl.bindings import crypto_scalarmult_ed25519_base_noclamp, crypto_sign, crypto_sign_seed_keypair

from tasks.attestation.fast import batch_signing
from tasks.attestation.fast.batch_signing import COMPILED, SLICE, CompiledSigner, find_compiled
from tasks.attestation.signer import Signer
from tasks.core.errors import SignerError

NAME = "provenance-backfill/golden"
SEED = bytes(range(32))
SECRET_KEY = crypto_sign_seed_keypair(SEED)[1]
ORDER = 2**252 + 27742317777372353535851937790883648493
LANES, GROUP = 8, 256  # of the widest: native/limbs_ifma.h, native/batch_signer.h


@pytest.fixture(params=COMPILED, scope="module")
def native(request: pytest.FixtureRequest) -> Any:
    """Each compiled signer that runs here."""
    if find_compiled([request.param]) is None:
        pytest.skip(f"{request.param} was not built, or cannot run here")
    return import_module(f"tasks.attestation.fast.{request.param}")


def one_by_one(secret_key: bytes, payloads: Sequence[bytes]) -> list[bytes]:
    return [crypto_sign(payload, secret_key)[:64] for payload in payloads]


def has(feature: str) -> bool:
    return feature in Path("/proc/cpuinfo").read_text().split()


@pytest.mark.skipif(platform.system() != "Linux" or platform.machine() != "x86_64", reason="not Linux on x86-64")
@pytest.mark.parametrize(("name", "feature"), [("_batch_signer_avx2", "avx2"), ("_batch_signer_ifma", "avx512ifma")])
def test_compiled_signers_are_there_wherever_they_can_be(name: str, feature: str) -> None:
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not shutil.which("gcc") or not headers.exists() or not has(feature):
        pytest.skip(f"no gcc, no Python.h or no {feature}")
    assert find_compiled([name]) is not None


class TestCompiledSigners:
    @given(seed=st.binary(min_size=32, max_size=32), payloads=st.lists(st.binary(max_size=400), max_size=12))
    @example(seed=bytes(32), payloads=[b""])
    @example(seed=b"\xff" * 32, payloads=[b"", b""])
    def test_they_sign_as_libsodium_does(self, native: Any, seed: bytes, payloads: list[bytes]) -> None:
        secret_key = crypto_sign_seed_keypair(seed)[1]
        assert native.sign(secret_key, payloads) == one_by_one(secret_key, payloads)

    def test_every_length_of_a_payload_is_padded_right(self, native: Any) -> None:
        payloads = [bytes(length % 251 for _ in range(length)) for length in range(3 * 128 + 2)]
        payloads.append(bytes(100_000))
        assert native.sign(SECRET_KEY, payloads) == one_by_one(SECRET_KEY, payloads)

    def test_lanes_and_groups_may_be_filled_in_part(self, native: Any) -> None:
        payloads = [b"%d" % number for number in range(2 * GROUP + LANES)]
        expected = one_by_one(SECRET_KEY, payloads)
        near_groups = [size + offset for size in (GROUP // 2, GROUP) for offset in range(-LANES, LANES + 1)]
        for size in [*range(3 * LANES), *near_groups, 2 * GROUP, len(payloads)]:
            assert native.sign(SECRET_KEY, payloads[:size]) == expected[:size]

    @pytest.mark.parametrize("payloads", [["text"], [b"", None], [bytearray(b"mutable")], 17])
    def test_what_is_no_list_of_bytes_is_refused(self, native: Any, payloads: Any) -> None:
        with pytest.raises(TypeError):
            native.sign(SECRET_KEY, payloads)

    def test_half_a_key_is_refused(self, native: Any) -> None:
        with pytest.raises(ValueError, match="63 bytes, expected 64"):
            native.sign(SECRET_KEY[:63], [b""])


class TestArithmetic:
    """What random payloads never reach."""

    def test_every_number_is_reduced_modulo_the_order(self, native: Any) -> None:
        most = 2**512 // ORDER
        near = [
            multiple * ORDER + offset
            for multiple in (0, 1, 2, 3, 2**64, 2**128, 2**192, 2**252, most - 1, most)
            for offset in (-2, -1, 0, 1, 2, ORDER - 1)
        ]
        words = [2**bit - 1 for bit in range(0, 513, 32)] + [2**bit for bit in range(0, 512, 32)]
        for number in near + words:
            if 0 <= number < 2**512:
                reduced = native.reduce(number.to_bytes(64, "little"))
                assert reduced == (number % ORDER).to_bytes(32, "little"), hex(number)

    @given(st.integers(0, 2**512 - 1))
    def test_any_number_is_reduced_modulo_the_order(self, native: Any, number: int) -> None:
        assert native.reduce(number.to_bytes(64, "little")) == (number % ORDER).to_bytes(32, "little")

    def test_every_entry_of_the_table_is_the_right_multiple(self, native: Any) -> None:
        """A digit in one window, in all of its values, over ones in every other window."""
        ones = sum(16**window for window in range(62))
        for window in range(62):
            for digit in range(16):
                scalar = (ones + (digit - 1) * 16**window).to_bytes(32, "little")
                assert native.multiply_base(scalar) == crypto_scalarmult_ed25519_base_noclamp(scalar)

    def test_the_ends_of_the_range_are_multiplied_right(self, native: Any) -> None:
        assert native.multiply_base(bytes(32)) == b"\x01" + bytes(31)  # libsodium refuses to say so
        for number in (1, 2, 3, 15, 16, 17, 2**252 - 1, 2**252, ORDER - 2, ORDER - 1, ORDER // 2, ORDER // 2 + 1):
            scalar = number.to_bytes(32, "little")
            assert native.multiply_base(scalar) == crypto_scalarmult_ed25519_base_noclamp(scalar), number


P = 2**255 - 19
NATIVE = Path(batch_signing.__file__).parent / "native"
BOUNDS = {  # of even limbs, as limbs_*.h gives them; odd ones of 25 bits have half
    "avx2": {"TIGHT": 2**26 + 2**18, "LOOSE": 2**27.75, "LOOSEST": 2**28.5},
    "ifma": {"TIGHT": 2**51 + 2**15, "LOOSE": 2**52, "LOOSEST": 2**52},
}
AT = {"avx2": [51 * (i // 2) + 26 * (i % 2) for i in range(10)], "ifma": [51 * i for i in range(5)]}


def edges(extension: str, folder: Path) -> list[str]:
    """What native_edges.c prints, compiled so that undefined behaviour ends it."""
    flags = {"avx2": "-mavx2", "ifma": "-mavx512ifma"}[extension]
    program = folder / "edges"
    bounds = [f"-D{name}={bound}" for name, bound in BOUNDS[extension].items()]
    subprocess.run(
        [
            "gcc", "-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all", flags, f"-I{NATIVE}",
            f'-DLIMBS_HEADER="limbs_{extension}.h"', *bounds,
            str(Path(__file__).with_name("native_edges.c")), "-o", str(program),
        ],
        check=True,
    )  # fmt: skip
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.parametrize("extension", ["avx2", "ifma"])
def test_limbs_at_their_bounds_are_no_others(extension: str, tmp_path: Path) -> None:
    if not shutil.which("gcc") or find_compiled([f"_batch_signer_{extension}"]) is None:
        pytest.skip("no gcc, or not for this processor")
    limbs, tight = len(AT[extension]), BOUNDS[extension]["TIGHT"]

    def number(some: list[int]) -> int:
        return sum(limb << at for limb, at in zip(some, AT[extension], strict=True))

    def is_below(some: list[int], bound: float) -> bool:
        return all(limb < bound / (2 if extension == "avx2" and i % 2 else 1) for i, limb in enumerate(some))

    seen = Counter[str]()
    for line in edges(extension, tmp_path):
        operation, *rest = line.split()
        values = list(map(int, rest))
        a, b, r = (values[limbs * i : limbs * (i + 1)] for i in range(3))
        words = sum(word << 64 * i for i, word in enumerate(values[-4:]))
        seen[operation] += 1
        if operation == "M":
            assert number(r) % P == number(a) * number(b) % P == words, line
            assert is_below(r, tight), line
        elif operation == "C":
            assert words == number(a) % P, line
        else:
            expected = number(a) + number(b) if operation == "A" else number(a) - number(b)
            assert (number(r) - expected) % P == 0, line
            assert is_below(r, BOUNDS[extension]["LOOSE"]), line
    assert seen["M"] == seen["A"] == seen["S"] == seen["C"] / 2 > 0


@pytest.mark.parametrize("by_compiled", [True, False])
@pytest.mark.parametrize("size", [0, 1, 3, SLICE - 1, SLICE, SLICE + 1, 2 * SLICE + 5])
def test_many_blobs_are_the_blobs_of_each(size: int, by_compiled: bool) -> None:
    signer = Signer(key_name=NAME, seed=SEED, compiled=by_compiled)
    payloads = [b"payload %d" % number for number in range(size)]
    assert signer.blobs(payloads) == [signer.blob(payload) for payload in payloads]


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The compiled signer gets every slice wrong after the first; how many payloads it was asked for each time."""
    asked = list[int]()

    def sign(secret_key: bytes, payloads: Sequence[bytes]) -> list[bytes]:
        asked.append(len(payloads))
        right = one_by_one(secret_key, payloads)
        return right if len(asked) == 1 else [signature[:63] + b"?" for signature in right]

    monkeypatch.setattr(batch_signing, "compiled_signer", CompiledSigner("lying", sign))
    return asked


def test_a_compiled_signer_that_is_wrong_gives_no_signature_out(lying: list[int]) -> None:
    signer = Signer(key_name=NAME, seed=SEED)
    payloads = [b"payload"] * (SLICE + 1)
    with pytest.raises(SignerError, match=r"two signatures over one payload of 7 bytes\. Set signing\.compiled"):
        signer.blobs(payloads)
    assert lying == [SLICE, 1]
    assert signer.blobs_by == "lying"


@pytest.mark.parametrize("lane", range(LANES))
def test_every_lane_is_compared_in_a_large_batch(lane: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def sign(secret_key: bytes, payloads: Sequence[bytes]) -> list[bytes]:
        right = one_by_one(secret_key, payloads)
        return [bytes(64) if at % LANES == lane else signature for at, signature in enumerate(right)]

    monkeypatch.setattr(batch_signing, "compiled_signer", CompiledSigner("lying", sign))
    with pytest.raises(SignerError):
        Signer(key_name=NAME, seed=SEED).blobs([b"payload"] * (LANES * SLICE))


def test_a_compiled_signer_of_an_older_source_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {"_older": SimpleNamespace(), "_newer": SimpleNamespace(sign=one_by_one)}
    monkeypatch.setattr(batch_signing, "import_module", lambda name: modules[name.rpartition(".")[2]])
    assert find_compiled(["_older", "_newer"]) == ("_newer", one_by_one)
    assert find_compiled(["_older"]) is None


def test_without_the_compiled_signer_it_is_never_asked(lying: list[int]) -> None:
    signer = Signer(key_name=NAME, seed=SEED, compiled=False)
    payloads = [b"payload"] * (SLICE + 1)
    assert signer.blobs(payloads) == [signer.blob(payload) for payload in payloads]
    assert lying == []
    assert signer.blobs_by == "PyNaCl"


def test_an_absent_compiled_signer_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_signing, "compiled_signer", None)
    signer = Signer(key_name=NAME, seed=SEED)
    assert signer.blobs_by == "PyNaCl"
    assert signer.blobs([b"a", b"b"]) == [signer.blob(b"a"), signer.blob(b"b")]
