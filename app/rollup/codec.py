"""Packs rollups into the bytes that the store holds, and reads them back.

    rollup   = [VERSION, messages, names, section × 8, extensions]            MessagePack
    names    = [name, …]                every source, process type, code and ledger entry once
    section  = binary: a MessagePack array of whole numbers, row after row. #x is the position of
               x in names
      requests        #source, status, count
      errors          #source, #code, count
      tallies         #source, kind, count, total, largest
      response_bytes  #process type, bytes
      sketches        #process type, kind, run …, 0
                      run: the counts of consecutive bins; a negative number skips that many bins
      gauges          epoch, then rows: #source, gauge, last_at - epoch, last, count,
                      total - count · last, smallest - last, largest - last
      active_minutes  #source, first minute, minutes >> first minute
      ledger          #name, count
    extensions = [[tag, binary], …]     the tagged sections, also those of newer versions
      binary: a MessagePack array of rows; a row is an array of its key and value columns.
              Most rows of `addon_samples` have a form of their own (app.rollup.addon_rows)

app.rollup.schema lists the sections and their columns.
"""

# Theory of operation
#
# These bytes outlive the process that wrote them: they are the contents of slots, inboxes and spool
# files. So the format must be cheap to merge, small, and readable by other versions.
#
# Sections are binaries because most readers need one or two of them. A query steps over the others
# by their length, without decoding them. Within a section, rows are flat runs of small numbers:
# MessagePack stores a number from -32 to 127 in one byte. For that reason names are written once
# and referred to by position. For that reason, too, a gauge stores the distance from its last value
# and from the earliest time in the section, a sketch stores gaps instead of bin numbers, and a mask
# of minutes is shifted to its first set bit.
#
# Rows are sorted, and names are numbered as they first appear in sorted rows. Equal rollups
# therefore have equal bytes, in whatever order their lines arrived and in both implementations.
#
# Numbers end at 63 bits. Larger sums come only from forged lines; they stay at the limit. Clamping
# keeps merging associative, and no sender can make data that cannot be read again.
#
# A reader trusts no number: every position, status, kind, gauge, bin and count is checked, because
# one damaged element must not spoil the rollup of an app. It raises PackError, and the caller drops
# the half-merged rollup.
#
# Compatibility. The core sections are frozen; a new section is tagged. A version that does not know
# the tag keeps the bytes, unread, through every merge: it concatenates and sorts them, also in
# the total. A newer version then merges, projects and limits them, so nothing grows for good. The
# rows of a tagged section hold names themselves and no positions in `names`, because positions
# change with each merge. Columns of a section never change; other columns need another tag.
#
# A status, kind or gauge with an unknown number is carried like any other. The first workers
# refused such rows, and some may still run, so new gauges go to the section `named_gauges`. Array
# elements after `extensions` are ignored, and lost in the next merge.
#
# A core section with another meaning needs a new VERSION, and readers that know both must be
# deployed before the first writer. A version that meets a higher VERSION raises NewerVersion.
# Folding of that app then stops until the process is upgraded; nothing is lost.
#
# app/rollup/_encoder.pyx and _decoder.pyx do the same faster. They read and write the exact form
# only, and leave everything else to this module.

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from types import GenericAlias
from typing import Any

import msgspec

from app.rollup import addon_rows
from app.rollup.number_sketch import BIN_MAX
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits, Rollup
from app.rollup.schema import (
    ALL_SECTIONS,
    CORE_SECTIONS,
    NUMBER_MAX,
    SECTION,
    SMALL_NUMBER_MAX,
    TAGGED_SECTIONS,
    Key,
    Section,
)
from app.rollup.sketch import BIN_COUNT, runs_of_bins
from app.rollup.summaries import GaugeSummary, Values
from app.support.errors import UserError

VERSION = 1

GaugeFilter = frozenset[int] | None  # numbers of gauges; None for all
_GAUGE_ROW = 8
_MINUTES_OF_HOUR = 60
_BY_KEY = itemgetter(0)


class PackError(ValueError):
    """The bytes are not a packed rollup.

    A rollup that they were being merged into may hold a part of them: discard it.
    """


class NewerVersion(PackError, UserError):
    """A newer Dynometer wrote the data; this process must be upgraded to read it."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"data of format {version} was written by a newer Dynometer (this one reads "
            f"format {VERSION}): upgrade this process"
        )


class _PackedRollup(msgspec.Struct, array_like=True, gc=False):
    version: int
    messages: int
    names: list[str]
    requests: bytes
    errors: bytes
    tallies: bytes
    response_bytes: bytes
    sketches: bytes
    gauges: bytes
    active_minutes: bytes
    ledger: bytes
    extensions: list[tuple[str, bytes]]


class _VersionOnly(msgspec.Struct, array_like=True, gc=False):
    version: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_PackedRollup).decode
_decode_version = msgspec.msgpack.Decoder(_VersionOnly).decode
_decode_numbers = msgspec.msgpack.Decoder(list[int]).decode


# --- writing ------------------------------------------------------------------------------------


class _NameTable:
    """Numbers names in the order of their first use."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, name: str) -> int:
        number = self.numbers.get(name)
        if number is None:
            number = self.numbers[name] = len(self.numbers)
        return number


def pack(rollup: Rollup, limits: CardinalityLimits = DEFAULT_LIMITS) -> bytes:
    """Pack a rollup. It is cut to the limits first, in place."""
    rollup.apply_limits(limits)
    number = _NameTable()
    sections = []
    for section in CORE_SECTIONS:
        rows = rollup.rows(section)
        write = _WRITE.get(section.name)
        numbers = write(rows, number) if write else _write_rows(section, rows, number)
        sections.append(_encode(_clamp(list(numbers))))
    extensions = list(rollup.extensions)
    for section in TAGGED_SECTIONS:
        extensions += encode_tagged(section, rollup.rows(section))
    messages = min(rollup.messages, NUMBER_MAX)
    return _encode([VERSION, messages, list(number.numbers), *sections, sorted(extensions)])


def encode_tagged(section: Section, rows: dict[Any, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield the tags and bytes of the rows of a tagged section."""
    if section.name == addon_rows.SECTION:
        data, rows = addon_rows.pack_addons(rows)
        if data:
            yield addon_rows.TAG, data
    if rows:
        yield section.name, encode_rows(section, rows)


def encode_rows(section: Section, rows: dict[Any, Any]) -> bytes:
    """Encode the rows of a tagged section by their columns."""
    return _encode(
        [
            [_clamp_column(column) for column in (*section.columns_of(key), *columns)]
            for key in sorted(rows)
            for columns in [section.values.columns(rows[key])]
        ]
    )


def _clamp_column(column: int | str | list[int]) -> int | str | list[int]:
    if isinstance(column, int):
        return max(-NUMBER_MAX, min(column, NUMBER_MAX))
    return _clamp(column) if isinstance(column, list) else column


def _clamp(numbers: list[int]) -> list[int]:
    if numbers and (max(numbers) > NUMBER_MAX or min(numbers) < -NUMBER_MAX):
        return [max(-NUMBER_MAX, min(number, NUMBER_MAX)) for number in numbers]
    return numbers


def _write_rows(section: Section, rows: dict[Any, Any], number: _NameTable) -> Iterator[int]:
    """Yield the numbers of a core section without a form of its own: plain rows of columns."""
    for key, value in sorted(rows.items(), key=_BY_KEY):
        for column in section.columns_of(key):
            yield number(column) if isinstance(column, str) else column
        yield from section.values.columns(value)


def _write_sketches(
    sketches: dict[tuple[str, int], dict[int, int]], number: _NameTable
) -> Iterator[int]:
    for (process_type, kind), bins in sorted(sketches.items(), key=_BY_KEY):
        yield from (number(process_type), kind)
        yield from runs_of_bins(bins)
        yield 0


def _write_gauges(gauges: dict[tuple[str, int], GaugeSummary], number: _NameTable) -> Iterator[int]:
    if not gauges:
        return
    epoch = min(summary.last_at_ms for summary in gauges.values())
    yield epoch
    for (source, gauge), summary in sorted(gauges.items(), key=_BY_KEY):
        last = summary.last
        yield from (number(source), gauge, summary.last_at_ms - epoch, last, summary.count)
        yield min(summary.total, NUMBER_MAX) - last * summary.count
        yield from (summary.smallest - last, summary.largest - last)


def _write_minutes(minutes: dict[str, int], number: _NameTable) -> Iterator[int]:
    for source, mask in sorted(minutes.items()):
        first = (mask & -mask).bit_length() - 1
        yield from (number(source), first, mask >> first)


_WRITE: dict[str, Callable[[Any, _NameTable], Iterator[int]]] = {
    "sketches": _write_sketches,
    "gauges": _write_gauges,
    "active_minutes": _write_minutes,
}


# --- reading ------------------------------------------------------------------------------------


def unpack(data: bytes) -> Rollup:
    """Read a packed rollup.

    Raises:
        PackError: the bytes are damaged.
        NewerVersion: a newer Dynometer wrote them.
    """
    rollup = Rollup()
    merge_packed(rollup, data)
    return rollup


def merge_packed(
    rollup: Rollup,
    data: bytes,
    sections: frozenset[str] = ALL_SECTIONS,
    *,
    gauges: GaugeFilter = None,
) -> None:
    """Merge a packed rollup into `rollup`.

    Args:
        rollup: changed in place.
        data: a packed rollup.
        sections: names of the sections to merge; the others are not even decoded. Unknown
            extensions are kept only if this is ALL_SECTIONS.
        gauges: the gauges to merge, if `sections` contains them.

    Raises:
        PackError: the bytes are damaged; `rollup` may hold a part of them.
        NewerVersion: a newer Dynometer wrote them.
    """
    try:
        fields = _decode(data)
    except DECODE_ERRORS as error:
        raise to_pack_error(data, error, VERSION) from None
    if fields.version != VERSION:
        raise to_pack_error(data, ValueError("unknown version"), VERSION)
    rollup.messages += _check_count(fields.messages)
    for section in CORE_SECTIONS:
        packed_rows: bytes = getattr(fields, section.name)
        if section.name in sections and packed_rows != _EMPTY:
            _read_core(section, rollup, packed_rows, fields.names, gauges)
    for tag, packed_rows in fields.extensions:
        section_name = addon_rows.SECTION if tag == addon_rows.TAG else tag
        if section_name in _DECODE_TAGGED:
            if section_name in sections:
                section = SECTION[section_name]
                rows = rollup.rows(section)
                for key, value in decode_tagged(tag, packed_rows):
                    section.merge_row(rows, key, value)
        elif sections is ALL_SECTIONS:
            rollup.extensions = tuple(sorted([*rollup.extensions, (tag, packed_rows)]))


def _read_core(
    section: Section, rollup: Rollup, packed_rows: bytes, names: list[str], gauges: GaugeFilter
) -> None:
    try:
        numbers = _decode_numbers(packed_rows)
        if section.name == "gauges":
            _read_gauges(rollup, numbers, names, gauges)
        elif read := _READ.get(section.name):
            read(rollup, numbers, names)
        else:
            _read_rows(section, rollup.rows(section), numbers, names)
    except DECODE_ERRORS as error:
        raise PackError(f"{section.name}: {error}") from None
    except (IndexError, StopIteration):
        raise PackError(f"{section.name}: the section ends early") from None


def _row_type(section: Section) -> Any:
    """The type of a packed row of a tagged section, for the decoder."""
    types = [int if key.number_max else str for key in section.keys]
    return GenericAlias(tuple, (*types, *section.values.types))


_DECODE_TAGGED = {
    section.name: msgspec.msgpack.Decoder(GenericAlias(list, (_row_type(section),))).decode
    for section in TAGGED_SECTIONS
}


def decode_tagged(tag: str, data: bytes) -> Iterator[tuple[Any, Any]]:
    """Yield (key, value) of each row of a packed tagged section, in either form.

    Raises:
        PackError: the bytes are damaged.
    """
    if tag != addon_rows.TAG:
        yield from decode_rows(SECTION[tag], data)
        return
    try:
        yield from addon_rows.unpack_addons(data)
    except (ValueError, *DECODE_ERRORS) as error:
        raise PackError(f"{tag}: {error}") from None


def decode_rows(
    section: Section, data: bytes, names: frozenset[str] | None = None
) -> Iterator[tuple[Any, Any]]:
    """Yield (key, value) of each row of a packed tagged section.

    `names`: the values of the second key column that are wanted; None for all rows.

    Raises:
        PackError: the bytes are damaged.
    """
    try:
        rows = _DECODE_TAGGED[section.name](data)
    except DECODE_ERRORS as error:
        raise PackError(f"{section.name}: {error}") from None
    width = len(section.keys)
    for row in rows:
        if names is not None and row[1] not in names:
            continue
        columns = [_check_key(key, column) for key, column in zip(section.keys, row, strict=False)]
        values = [_check_column(column, section.values) for column in row[width:]]
        if section.values.has_count and values[0] < 1:
            raise PackError(f"{section.name}: a row has no values")
        yield section.key_of(columns), section.values.make(values)


def _check_key(key: Key, column: Any) -> Any:
    return _check_below(column, key.number_max + 1) if key.number_max else column


def _check_column(column: Any, values: Values) -> Any:
    if isinstance(column, list):
        return _check_runs(column)
    if isinstance(column, int) and values.is_signed:
        return _check_below(column + NUMBER_MAX, 2 * NUMBER_MAX + 1) - NUMBER_MAX
    return _check_count(column) if isinstance(column, int) else column


def _check_runs(runs: list[int]) -> list[int]:
    """Return a sketch of app.rollup.number_sketch; raise PackError unless its bins exist."""
    bins = sum(-run if run < 0 else 1 for run in runs)
    if not 0 < bins <= BIN_MAX + 1 or 0 in runs or runs[-1] < 0:
        raise PackError(f"{runs[:8]} is not a sketch")
    return runs


_EMPTY = _encode([])
DECODE_ERRORS = (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError)


def to_pack_error(data: bytes, error: Exception, newest_version: int) -> PackError:
    """Turn a decoding error into NewerVersion if a higher version stands in front of the data."""
    try:
        version = _decode_version(data).version
    except DECODE_ERRORS:
        return PackError(str(error))
    return NewerVersion(version) if version > newest_version else PackError(str(error))


def _check_count(value: int) -> int:
    """Return the value; raise PackError unless it is in [0, NUMBER_MAX]."""
    if not 0 <= value <= NUMBER_MAX:
        raise PackError(f"{value} is not a count")
    return value


def _check_below(value: int, size: int) -> int:
    """Return the value; raise PackError unless it is in [0, size)."""
    if not 0 <= value < size:
        raise PackError(f"{value} is not in [0, {size})")
    return value


def _split_rows(numbers: list[int], width: int) -> Iterator[list[int]]:
    if len(numbers) % width:
        raise PackError("the last row ends early")
    for start in range(0, len(numbers), width):
        yield numbers[start : start + width]


def _name_at(names: list[str], number: int) -> str:
    if number < 0:
        raise PackError(f"{number} is not the position of a name")
    return names[number]


def _read_rows(
    section: Section, rows: dict[Any, Any], numbers: list[int], names: list[str]
) -> None:
    """Read a core section without a form of its own."""
    width = len(section.keys)
    for row in _split_rows(numbers, width + len(section.values.names)):
        columns = [
            _check_key(key, column) if key.number_max else _name_at(names, column)
            for key, column in zip(section.keys, row, strict=False)
        ]
        values = [_check_count(column) for column in row[width:]]
        section.merge_row(rows, section.key_of(columns), section.values.make(values))


def _read_sketches(rollup: Rollup, numbers: list[int], names: list[str]) -> None:
    remaining = iter(numbers)
    for number in remaining:
        key = (_name_at(names, number), _check_below(next(remaining), SMALL_NUMBER_MAX + 1))
        bins = rollup.sketches.setdefault(key, {})
        index = 0
        while value := next(remaining):
            if value < 0:
                index -= value
            else:
                bins[index] = bins.get(index, 0) + value
                index += 1
        if index > BIN_COUNT:
            raise PackError(f"{index - 1} is not a bin")


def _read_gauges(
    rollup: Rollup, numbers: list[int], names: list[str], wanted_gauges: GaugeFilter = None
) -> None:
    gauges = rollup.gauges
    epoch = numbers[0]
    if (len(numbers) - 1) % _GAUGE_ROW:
        raise PackError("the last gauge ends early")
    for start in range(1, len(numbers), _GAUGE_ROW):
        gauge = numbers[start + 1]
        if wanted_gauges is not None and gauge not in wanted_gauges:
            continue
        row = numbers[start : start + _GAUGE_ROW]
        source, _, offset_ms, last, count, total, smallest, largest = row
        if count < 1:
            raise PackError("a gauge has no values")
        key = (_name_at(names, source), _check_below(gauge, SMALL_NUMBER_MAX + 1))
        summary = GaugeSummary(
            _check_count(count),
            _check_count(min(last * count + total, NUMBER_MAX)),
            _check_count(last + smallest),
            _check_count(last + largest),
            _check_count(epoch + offset_ms),
            _check_count(last),
        )
        SECTION["gauges"].merge_row(gauges, key, summary)


def _read_minutes(rollup: Rollup, numbers: list[int], names: list[str]) -> None:
    minutes = rollup.active_minutes
    for number, first, shifted_mask in _split_rows(numbers, 3):
        mask = _check_count(shifted_mask) << _check_below(first, _MINUTES_OF_HOUR)
        if not 0 < mask < 1 << _MINUTES_OF_HOUR:
            raise PackError("minutes outside the hour")
        source = _name_at(names, number)
        minutes[source] = minutes.get(source, 0) | mask


_READ: dict[str, Callable[[Rollup, list[int], list[str]], None]] = {
    "sketches": _read_sketches,
    "active_minutes": _read_minutes,
}
