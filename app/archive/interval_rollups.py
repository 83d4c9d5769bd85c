"""The hours and days that the archive holds, packed: plain arithmetic, without a database."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import NamedTuple

from app.archive.detail_rows import Minutes, Row, detail_rows
from app.rollup.accelerated import pack, to_python
from app.rollup.batch_codec import join_batch, unpack_batch
from app.rollup.bounded_merge import merge_bounded, merge_in_steps
from app.rollup.codec import merge_packed, unpack
from app.rollup.events import EventKey
from app.rollup.rollup import UNLIMITED, CardinalityLimits, Rollup
from app.rollup.schema import SECTIONS
from app.rollup.summaries import MASK
from app.storage.interface.elements import HEADER_BYTES

# The sections that a day cannot add up: a mask has the minutes of one hour, and an hour's events
# are limited to a number that a day's would exceed.
HOURLY_SECTIONS = frozenset(
    section.name for section in SECTIONS if section.values == MASK or section.limit_rows is not None
)
HOURS_PER_DAY = 24
DYNOS_FACTOR = 4  # a day may have so many times the dynos, and rows of open metrics, of an hour


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
    rollup = merge_bounded((element[HEADER_BYTES:] for element in elements), limits)
    return PackedInterval(app, start_s, rollup.messages, pack(rollup, limits))


def pack_day(
    app: str, start_s: int, hours: Sequence[tuple[int, bytes]], limits: CardinalityLimits
) -> Generator[None, None, PackedInterval]:
    """Merge hours, given by their start, into their day. `limits`: those of an hour.

    Yields after each step.

    Raises:
        PackError, NewerVersion: an hour cannot be read.
    """
    limits = day_limits(limits)
    merged = yield from merge_in_steps((rollup for _, rollup in hours), limits)
    yield
    day = to_python(merged)
    del merged
    for name in HOURLY_SECTIONS:
        getattr(day, name).clear()
    yield
    data = pack(day, limits)
    messages = day.messages
    del day
    parts = {}
    for hour_s, hour in hours:
        yield
        part = Rollup()
        merge_packed(part, hour, HOURLY_SECTIONS)
        part.messages = 0
        parts[hour_s] = pack(part, UNLIMITED)  # an hour is within its limits
    return PackedInterval(app, start_s, messages, data, join_batch(parts))


def day_limits(limits: CardinalityLimits) -> CardinalityLimits:
    """The limits of a day, from those of an hour: only a hostile app's day has more names."""
    return UNLIMITED._replace(
        process_types=HOURS_PER_DAY * limits.process_types,
        codes=HOURS_PER_DAY * limits.codes,
        dynos=DYNOS_FACTOR * limits.dynos,
        open_names=DYNOS_FACTOR * limits.open_names,
        open_series=DYNOS_FACTOR * limits.open_series,
        open_bins=DYNOS_FACTOR * limits.open_bins,
    )


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
