"""Turns text into UTF-8 as it arrives, without a byte order mark.

PowerShell's `>` writes UTF-16 with a mark. UTF-16 without one is recognized by the zero bytes of
its first two characters, which are ASCII in every log.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from itertools import chain

_HEAD_BYTES = 4
_ENCODINGS = (  # by the first bytes of a text: its encoding, and the name of it
    (re.compile(rb"\xff\xfe"), "utf-16-le", "UTF-16"),
    (re.compile(rb"\xfe\xff"), "utf-16-be", "UTF-16"),
    (re.compile(rb"[^\x00]\x00[^\x00]\x00"), "utf-16-le", "UTF-16"),
    (re.compile(rb"\x00[^\x00]\x00[^\x00]"), "utf-16-be", "UTF-16"),
)
_UTF8_MARK = b"\xef\xbb\xbf"


def decode(chunks: Iterator[bytes]) -> tuple[str, Iterator[bytes]]:
    """("UTF-16" or "", the chunks in UTF-8). Empty chunks stay empty.

    Reads as much of the chunks as it takes to recognize the encoding.
    """
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _HEAD_BYTES:
            break
    for pattern, encoding, name in _ENCODINGS:
        if pattern.match(head):
            return name, _decoded(chain((head,), chunks), encoding)
    head = head.removeprefix(_UTF8_MARK)
    return "", chain((head,) if head else (), chunks)


def _decoded(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    for chunk in chunks:
        yield decoder.decode(chunk).removeprefix("\ufeff").encode()
    yield decoder.decode(b"", final=True).encode()
