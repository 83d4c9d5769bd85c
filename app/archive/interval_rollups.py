"""The hours and days that the archive holds, packed: plain arithmetic, without a database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from app.archive.detail_rows import Minutes, Row, detail_rows
from app.rollup.accelerated import merge_rollups, pack, to_python
from app.rollup.batch_codec import join_batch, unpack_batch
from app.rollup.codec import merge_packed, unpack
from app.rollup.events import EventKey
from app.rollup.rollup import CardinalityLimits, Rollup
from app.rollup.schema import SECTIONS
from app.rollup.summaries import MASK
from app.storage.interface.elements import HEADER_BYTES

# The sections that a day cannot add up: a mask has the minutes of one hour, and an hour's events
# are limited to a number that a day's would exceed.
HOURLY_SECTIONS = frozenset(
    section.name for section in SECTIONS if section.values == MASK or section.limit_rows is not None
)
# A day holds what its hours hold, and each of them is within the limits.
NO_LIMITS = CardinalityLimits(*[2**31 - 1] * len(CardinalityLimits._fields))


class PackedInterval(NamedTuple):
    """An app's hour or day. `by_hour` is b"" for an hour."""

    app: str
    start_s: int
    messages: int
    rollup: bytes
    by_hour: bytes = b""


def pack_hour(
    app: str, start_s: int, elements: Sequence[bytes], limits: CardinalityLimits
) -> PackedInterval:
    """Merge the elements of a slot as a compaction does.

    Raises:
        PackError, NewerVersion: an element cannot be read.
    """
    rollup = merge_rollups(element[HEADER_BYTES:] for element in elements)
    return PackedInterval(app, start_s, rollup.messages, pack(rollup, limits))


def pack_day(app: str, start_s: int, hours: Sequence[tuple[int, bytes]]) -> PackedInterval:
    """Merge hours, given by their start, into their day.

    Raises:
        PackError, NewerVersion: an hour cannot be read.
    """
    day = to_python(merge_rollups([rollup for _, rollup in hours]))
    for name in HOURLY_SECTIONS:
        getattr(day, name).clear()
    parts = {}
    for hour_s, data in hours:
        part = Rollup()
        merge_packed(part, data, HOURLY_SECTIONS)
        part.messages = 0
        parts[hour_s] = pack(part, NO_LIMITS)
    return PackedInterval(app, start_s, day.messages, pack(day, NO_LIMITS), join_batch(parts))


def details_of(interval: PackedInterval) -> tuple[list[Row], ...]:
    """The rows of the tables of details, in their order, without the columns app and t."""
    rollup = unpack(interval.rollup)
    return detail_rows(rollup, list(_minutes_by_hour(interval, rollup)))


def _minutes_by_hour(interval: PackedInterval, rollup: Rollup) -> Iterable[Minutes]:
    if not interval.by_hour:
        yield rollup.active_minutes
        return
    for _, data in unpack_batch(interval.by_hour):
        part = Rollup()
        merge_packed(part, data, frozenset({"active_minutes"}))
        yield part.active_minutes


def events_of(interval: PackedInterval) -> dict[EventKey, int]:
    """The counts by event of an hour."""
    rollup = Rollup()
    merge_packed(rollup, interval.rollup, frozenset({"events", "lifecycle"}))
    return rollup.all_events
