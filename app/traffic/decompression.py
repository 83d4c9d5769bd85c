"""Decompresses bytes as they arrive: gzip, zstd, bzip2 and xz, recognized by their first bytes.

Source of the magic numbers: RFC 1952 (gzip), RFC 8878 (zstd), and the manuals of bzip2 and xz.
"""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PIECE_BYTES = 2**20  # decompressed at a time, so that even the densest data fits into memory
_MAGIC_BYTES_MAX = 6


class DamagedData(Exception):
    """The compressed data is damaged or ends early. The message says which."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Compression(NamedTuple):
    name: str
    magic: bytes
    new_decompressor: Callable[[], _Decompressor]


_COMPRESSIONS = (
    _Compression("gzip", b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),
    _Compression("zstd", b"\x28\xb5\x2f\xfd", zstd.ZstdDecompressor),
    _Compression("bzip2", b"BZh", bz2.BZ2Decompressor),
    _Compression("xz", b"\xfd7zXZ\x00", lzma.LZMADecompressor),
)


def decompress(chunks: Iterator[bytes]) -> tuple[str, Iterator[bytes]]:
    """(name of the compression or "", the decompressed chunks). Empty chunks stay empty.

    Reads as much of the chunks as it takes to recognize the compression. Data may consist of
    several streams, one after the other.

    Raises:
        DamagedData: from the returned iterator.
    """
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _MAGIC_BYTES_MAX or not any(
            compression.magic.startswith(head) for compression in _COMPRESSIONS
        ):
            break
    rest = chain((head,) if head else (), chunks)
    for compression in _COMPRESSIONS:
        if head.startswith(compression.magic):
            return compression.name, _decompressed(rest, compression)
    return "", rest


def _decompressed(chunks: Iterator[bytes], compression: _Compression) -> Iterator[bytes]:
    decompressor = compression.new_decompressor()
    for chunk in chunks:
        if not chunk:
            yield b""
        rest = chunk
        while rest:
            if decompressor.eof:
                decompressor = compression.new_decompressor()
            try:
                yield from _pieces(decompressor, rest)
            except (zlib.error, zstd.ZstdError, lzma.LZMAError, OSError, ValueError) as error:
                raise DamagedData(f"damaged {compression.name} data ({error})") from error
            rest = decompressor.unused_data
    if not decompressor.eof:
        raise DamagedData(f"the {compression.name} data ends early. Copy the file again.")


def _pieces(decompressor: _Decompressor, data: bytes) -> Iterator[bytes]:
    """Yield the decompressed data in pieces, up to the end of the data or of the stream."""
    while True:
        piece = decompressor.decompress(data, _PIECE_BYTES)
        if piece:
            yield piece
        data = getattr(decompressor, "unconsumed_tail", b"")  # zlib returns it, others hold it
        if decompressor.eof or (len(piece) < _PIECE_BYTES and not data):
            return
