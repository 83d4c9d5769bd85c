"""Selects the implementation of rollups and their byte formats: compiled if installed, or Python.

`FastRollup` is the compiled rollup where the extension modules are built, and `Rollup` elsewhere.
Both hold the same data, merge alike and pack to the same bytes. app.rollup.rollup,
app.rollup.codec and app.rollup.batch_codec define the results.
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


def merge_rollups(rollups: Iterable[bytes]) -> FastRollup:
    """Merge packed rollups into one.

    Raises:
        PackError, NewerVersion: one of them cannot be read.
    """
    rollups = list(rollups)
    merger = FastRollup()
    try:
        for data in rollups:
            merge_packed(merger, data)
    except PackError:
        # The compiled reader accepts only the exact form. The Python reader defines what is
        # readable, and its error names the reason.
        merger = FastRollup()
        for data in rollups:
            merger.add(unpack(data))
    return merger


def to_python(rollup: FastRollup) -> Rollup:
    """Convert to a `Rollup`; one that already is a `Rollup` is returned as it is."""
    return rollup if isinstance(rollup, Rollup) else rollup.to_rollup()
