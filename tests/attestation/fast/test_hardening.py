"""What the linker made of the signer and the hasher: tables that are closed before anything runs, a watched stack."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

BUILT = sorted((Path(__file__).parents[3] / "tasks" / "attestation" / "fast").glob("_batch_*.so"))
RPATH, RUNPATH = 15, 29
BIND_NOW, FLAGS, FLAGS_1, GNU_RELRO, GNU_STACK = 24, 30, 0x6FFFFFFB, 0x6474E552, 0x6474E551


def segments(data: bytes) -> list[tuple[int, int, int, int]]:
    """(type, flags, offset, size) of each program header of a 64-bit little-endian ELF file."""
    assert data[:6] == b"\x7fELF\x02\x01"
    at, each, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    heads = (struct.unpack_from("<IIQQQQ", data, at + each * number) for number in range(count))
    return [(kind, flags, offset, size) for kind, flags, offset, _, _, size in heads]


def dynamic(data: bytes) -> dict[int, int]:
    """The tags of the dynamic section."""
    offset, size = next((offset, size) for kind, _, offset, size in segments(data) if kind == 2)
    return dict(struct.iter_unpack("<qQ", data[offset : offset + size]))


@pytest.mark.skipif(not BUILT, reason="no extension was built here")
@pytest.mark.parametrize("path", BUILT, ids=lambda path: path.name.partition(".")[0])
def test_an_extension_is_linked_so_that_its_tables_are_closed_and_its_stack_is_watched(path: Path) -> None:
    data = path.read_bytes()
    tags = dynamic(data)
    assert BIND_NOW in tags or tags.get(FLAGS, 0) & 8 or tags.get(FLAGS_1, 0) & 1
    assert not {RPATH, RUNPATH} & set(tags)  # no library is looked for in a folder of whoever built Python
    kinds = {kind: flags for kind, flags, _, _ in segments(data)}
    assert GNU_RELRO in kinds
    assert not kinds[GNU_STACK] & 1  # never executable
    assert b"__stack_chk_fail" in data


@pytest.mark.parametrize("words", [
    ["-Wl,-rpath,/opt/python/lib"], ["-Wl,-rpath=/opt/python/lib"], ["-Wl,-rpath", "-Wl,/opt/python/lib"],
    ["-Wl,--rpath,/opt/python/lib"], ["-Wl,-R,/opt/python/lib"], ["-rpath", "/opt/python/lib"],
])  # fmt: skip
def test_no_search_path_reaches_the_linker(words: list[str]) -> None:
    pytest.importorskip("setuptools", reason="only a build has it")
    from tasks.attestation.fast.building import without_search_path

    assert without_search_path(["gcc", "-shared", "-L/opt/python/lib", *words, "-Wl,-z,now"]) == [
        "gcc", "-shared", "-L/opt/python/lib", "-Wl,-z,now",
    ]  # fmt: skip
