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
    from app.rollup.codec import absorb, pack
    from app.rollup.rollup import Rollup as Sums
else:
    from app.rollup._decoder import absorb
    from app.rollup._encoder import pack, pack_batch
    from app.rollup._rollup import Sums

__all__ = ["Sums", "absorb", "merged", "pack", "pack_batch", "plain"]


def merged(packed: Iterable[bytes]) -> Sums:
    """The merge of packed rollups.

    Raises:
        PackError, NewerVersion: one of them cannot be read.
    """
    packed = list(packed)
    sums = Sums()
    try:
        for data in packed:
            absorb(sums, data)
    except PackError:  # the definition may read it after all, or say better why not
        sums = Sums()
        for data in packed:
            sums.add(unpack(data))
    return sums


def plain(sums: Sums) -> Rollup:
    """The same as a Rollup."""
    return sums if isinstance(sums, Rollup) else sums.rollup()
