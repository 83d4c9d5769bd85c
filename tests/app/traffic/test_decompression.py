"""Compressed data is recognized by its content, in pieces of any size."""

from __future__ import annotations

import os

import pytest

from app.traffic.decompression import DamagedData, decompress
from tests.support.compression import COMPRESS

DATA = b"".join(b"line %d\n" % number for number in range(20_000))


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[offset : offset + size] for offset in range(0, len(data), size)]


@pytest.mark.parametrize("name", COMPRESS)
@pytest.mark.parametrize("size", [1, 1_000, 10**9])
def test_several_streams_one_after_the_other_are_decompressed(name: str, size: int) -> None:
    data = b"".join(COMPRESS[name](part) for part in (DATA[:100], b"", DATA[100:]))

    found, chunks = decompress(iter(pieces(data, size)))

    assert found == name
    assert b"".join(chunks) == DATA


@pytest.mark.parametrize("name", COMPRESS)
def test_data_that_ends_early_is_an_error(name: str) -> None:
    _, chunks = decompress(iter([COMPRESS[name](os.urandom(5_000))[:1_000]]))

    with pytest.raises(DamagedData, match=f"the {name} data ends early"):
        list(chunks)


@pytest.mark.parametrize("name", COMPRESS)
def test_damaged_data_is_an_error(name: str) -> None:
    data = COMPRESS[name](DATA)
    _, chunks = decompress(iter([data[:20] + b"\xff" * 50 + data[70:]]))

    with pytest.raises(DamagedData):
        list(chunks)


@pytest.mark.parametrize("data", [b"", b"B", b"BZ", b"plain text", b"\x1f"])
def test_other_data_stays_as_it_is(data: bytes) -> None:
    name, chunks = decompress(iter(pieces(data, 1)))

    assert (name, b"".join(chunks)) == ("", data)


@pytest.mark.parametrize("name", COMPRESS)
def test_dense_data_comes_in_pieces_that_fit_into_memory(name: str) -> None:
    megabytes = 64
    data = COMPRESS[name](bytes(megabytes * 2**20))

    sizes = [len(chunk) for chunk in decompress(iter([data]))[1]]

    assert sum(sizes) == megabytes * 2**20
    assert max(sizes) <= 2**20
