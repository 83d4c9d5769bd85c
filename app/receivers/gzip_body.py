"""Inflates gzip bodies in steps of some milliseconds, in time linear in their size.

A body may have many members, even empty ones. Python's inflater copies the input behind the end of
a member, so it gets the input in pieces: small ones at first, larger ones as the member goes on.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

OUTPUT_BYTES = 2**16  # of one call; damage costs at most this much of the data before it
_INPUT_BYTES_MIN, _INPUT_BYTES_MAX = 512, 2**16
_STEP_BYTES = 2**18  # of output; about a millisecond
_CALL_BYTES = 2**10  # as much output takes as long as a call


class InflatedTooLarge(Exception):
    """The inflated body is larger than allowed."""


def inflate_in_steps(body: bytes, bytes_max: int) -> Iterator[bytes]:
    """Inflate a gzip body with all its members, up to the first damaged byte.

    Yields the data of one step each. The missing rest shows as lost, by comparison with
    Logplex-Msg-Count. If nothing can be inflated, the result is b"\\0", with which no message
    begins.

    Raises:
        InflatedTooLarge: it is larger than `bytes_max`; no more than that was inflated.
    """
    size = work = 0
    step: list[bytes] = []
    for part in _inflate(body):
        if part is None:
            if not size:
                yield b"\x00"
            break
        size += len(part)
        if size > bytes_max:
            raise InflatedTooLarge
        step.append(part)
        work += len(part) + _CALL_BYTES
        if work >= _STEP_BYTES:
            yield b"".join(step)
            step, work = [], 0
    yield b"".join(step)


def _inflate(body: bytes) -> Iterator[bytes | None]:
    """Yields the output of each call; None at damage, which is the end."""
    at = 0
    while at < len(body):
        inflater = zlib.decompressobj(wbits=31)
        input_bytes = _INPUT_BYTES_MIN
        while at < len(body) and not inflater.eof:
            data = body[at : at + input_bytes]
            try:
                part = inflater.decompress(data, OUTPUT_BYTES)
            except zlib.error:
                yield None
                return
            at += len(data) - len(inflater.unconsumed_tail) - len(inflater.unused_data)
            input_bytes = min(2 * input_bytes, _INPUT_BYTES_MAX)
            yield part
