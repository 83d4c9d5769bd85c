"""Rollups as the busy paths hold them, and their bytes, alone and as a batch: in the quickest form
that this installation has. All forms hold the same, merge alike and have the same bytes;
app.rollup.rollup, app.rollup.codec and app.rollup.batch_codec say what that is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from app.rollup.codec import PackError, unpack
from app.rollup.rollup import Rollup
from app.support.compiled import COMPILED

if TYPE_CHECKING or not COMPILED:
    from app.rollup.batch_codec import pack_batch
    from app.rollup.codec import merge_packed, pack
    from app.rollup.rollup import Rollup as FastRollup
else:
    from app.rollup._decoder import merge_packed
    from app.rollup._encoder import pack, pack_batch
    from app.rollup._rollup import FastRollup

__all__ = ["FastRollup", "merge_packed", "merge_rollups", "pack", "pack_batch", "to_python"]


def merge_rollups(packed: Iterable[bytes]) -> FastRollup:
    """The merge of packed rollups.

    Raises:
        PackError, NewerVersion: one of them cannot be read.
    """
    packed = list(packed)
    sums = FastRollup()
    try:
        for data in packed:
            merge_packed(sums, data)
    except PackError:  # the definition may read it after all, or say better why not
        sums = FastRollup()
        for data in packed:
            sums.add(unpack(data))
    return sums


def to_python(sums: FastRollup) -> Rollup:
    """The same as a Rollup."""
    return sums if isinstance(sums, Rollup) else sums.rollup()
