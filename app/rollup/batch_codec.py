"""Packs a batch: the rollups of one POST, one for each minute that its lines touch.

batch = [VERSION, [[minute, rollup], …]]        MessagePack; rollups as in app.rollup.codec
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from app.rollup.codec import DECODE_ERRORS, pack, to_pack_error
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits, Rollup

VERSION = 1


class _Batch(msgspec.Struct, array_like=True, gc=False):
    version: int
    rollups: list[tuple[int, bytes]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Batch).decode


def pack_batch(rollups: Mapping[int, Rollup], limits: CardinalityLimits = DEFAULT_LIMITS) -> bytes:
    """Pack rollups that are keyed by the start of their minute, in Unix seconds."""
    return join_batch({minute: pack(rollup, limits) for minute, rollup in rollups.items()})


def join_batch(rollups: Mapping[int, bytes]) -> bytes:
    """Join packed rollups that are keyed by the start of their minute."""
    return _encode([VERSION, sorted(rollups.items())])


def unpack_batch(data: bytes) -> list[tuple[int, bytes]]:
    """Unpack a batch into (minute, packed rollup) pairs, by ascending minute.

    Raises:
        PackError: the bytes are damaged.
        NewerVersion: a newer Dynometer wrote them.
    """
    try:
        batch = _decode(data)
    except DECODE_ERRORS as error:
        raise to_pack_error(data, error, VERSION) from None
    if batch.version != VERSION:
        raise to_pack_error(data, ValueError("unknown version"), VERSION)
    return batch.rollups
