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
    extensions = [[tag, binary], …]     sections that later versions added (codec_extensions)

kind: a TimingKind of app.rollup.rollup. gauge: an index in parsers.metrics.GAUGES.
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
# Compatibility. A new section gets a tag in `extensions`. A version that does not know the tag
# keeps the bytes, unread, through every merge: it concatenates and sorts them. Extensions hold
# names themselves and no positions in `names`, because positions change with each merge. Array
# elements after `extensions` are ignored, and lost in the next merge. A core section with another
# meaning, or with a new gauge or kind, makes older readers fail. It needs a new VERSION, and
# readers that know both must be deployed before the first writer. A version that meets a higher
# VERSION raises NewerVersion. Folding of that app then stops until the process is upgraded; nothing
# is lost.
#
# app/rollup/_encoder.pyx and _decoder.pyx do the same faster. They read and write the exact form
# only, and leave everything else to this module.

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

import msgspec

from app.rollup import codec_extensions
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits, Rollup, TimingKind
from app.rollup.sketch import BIN_COUNT
from app.rollup.summaries import GaugeSummary, TimingTotals
from app.support.errors import UserError
from parsers.metrics import GAUGES

VERSION = 1

SECTIONS = (
    "requests",
    "errors",
    "tallies",
    "response_bytes",
    "sketches",
    "gauges",
    "active_minutes",
    "ledger",
)
_CORE_SECTIONS = frozenset(SECTIONS)
ALL_SECTIONS = _CORE_SECTIONS | codec_extensions.TAGS

GaugeFilter = frozenset[int] | None  # indices in GAUGES; None for all
_TIMING_KIND_COUNT = 4
_GAUGE_ROW = 8
_MINUTES_OF_HOUR = 60
_STATUS_MAX = 599
_BY_KEY = itemgetter(0)
_NUMBER_MAX = 2**63 - 1


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
    sections = [
        _encode(_clamp(list(_WRITE[name](getattr(rollup, name), number)))) for name in SECTIONS
    ]
    messages = min(rollup.messages, _NUMBER_MAX)
    extensions = sorted([*rollup.extensions, *codec_extensions.encode_extensions(rollup)])
    return _encode([VERSION, messages, list(number.numbers), *sections, extensions])


def _clamp(numbers: list[int]) -> list[int]:
    if numbers and (max(numbers) > _NUMBER_MAX or min(numbers) < -_NUMBER_MAX):
        return [max(-_NUMBER_MAX, min(number, _NUMBER_MAX)) for number in numbers]
    return numbers


def _write_requests(requests: dict[tuple[str, int], int], number: _NameTable) -> Iterator[int]:
    for (source, status), count in sorted(requests.items()):
        yield from (number(source), status, count)


def _write_errors(errors: dict[tuple[str, str], int], number: _NameTable) -> Iterator[int]:
    for (source, code), count in sorted(errors.items()):
        yield from (number(source), number(code), count)


def _write_tallies(
    tallies: dict[tuple[str, TimingKind], TimingTotals], number: _NameTable
) -> Iterator[int]:
    for (source, kind), totals in sorted(tallies.items(), key=_BY_KEY):
        yield from (number(source), kind, totals.count, totals.total, totals.largest)


def _write_counts(counts: dict[str, int], number: _NameTable) -> Iterator[int]:
    for name, count in sorted(counts.items()):
        yield from (number(name), count)


def _write_sketches(
    sketches: dict[tuple[str, TimingKind], dict[int, int]], number: _NameTable
) -> Iterator[int]:
    for (process_type, kind), bins in sorted(sketches.items(), key=_BY_KEY):
        yield from (number(process_type), kind)
        next_index = 0
        for index, count in sorted(bins.items()):
            if index != next_index:
                yield next_index - index
            yield count
            next_index = index + 1
        yield 0


def _write_gauges(gauges: dict[tuple[str, int], GaugeSummary], number: _NameTable) -> Iterator[int]:
    if not gauges:
        return
    epoch = min(summary.last_at_ms for summary in gauges.values())
    yield epoch
    for (source, gauge), summary in sorted(gauges.items(), key=_BY_KEY):
        last = summary.last
        yield from (number(source), gauge, summary.last_at_ms - epoch, last, summary.count)
        yield min(summary.total, _NUMBER_MAX) - last * summary.count
        yield from (summary.smallest - last, summary.largest - last)


def _write_minutes(minutes: dict[str, int], number: _NameTable) -> Iterator[int]:
    for source, mask in sorted(minutes.items()):
        first = (mask & -mask).bit_length() - 1
        yield from (number(source), first, mask >> first)


_WRITE: dict[str, Callable[[Any, _NameTable], Iterator[int]]] = {
    "requests": _write_requests,
    "errors": _write_errors,
    "tallies": _write_tallies,
    "response_bytes": _write_counts,
    "sketches": _write_sketches,
    "gauges": _write_gauges,
    "active_minutes": _write_minutes,
    "ledger": _write_counts,
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
    for name in SECTIONS if sections is ALL_SECTIONS else sections & _CORE_SECTIONS:
        section: bytes = getattr(fields, name)
        if section == _EMPTY:
            continue
        try:
            numbers = _decode_numbers(section)
            if name == "gauges":
                _read_gauges(rollup, numbers, fields.names, gauges)
            else:
                _READ[name](rollup, numbers, fields.names)
        except DECODE_ERRORS as error:
            raise PackError(f"{name}: {error}") from None
        except (IndexError, StopIteration):
            raise PackError(f"{name}: the section ends early") from None
    try:
        codec_extensions.merge_extensions(
            rollup, fields.extensions, sections, keep_unknown=sections is ALL_SECTIONS
        )
    except (*DECODE_ERRORS, ValueError) as error:
        raise PackError(str(error)) from None


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
    """Return the value; raise PackError unless it is in [0, _NUMBER_MAX]."""
    if not 0 <= value <= _NUMBER_MAX:
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


def _read_requests(rollup: Rollup, numbers: list[int], names: list[str]) -> None:
    requests = rollup.requests
    for source, status, count in _split_rows(numbers, 3):
        key = (_name_at(names, source), _check_below(status, _STATUS_MAX + 1))
        requests[key] = requests.get(key, 0) + _check_count(count)


def _read_errors(rollup: Rollup, numbers: list[int], names: list[str]) -> None:
    errors = rollup.errors
    for source, code, count in _split_rows(numbers, 3):
        key = (_name_at(names, source), _name_at(names, code))
        errors[key] = errors.get(key, 0) + _check_count(count)


def _read_tallies(rollup: Rollup, numbers: list[int], names: list[str]) -> None:
    tallies = rollup.tallies
    for source, kind, count, total, largest in _split_rows(numbers, 5):
        key = (_name_at(names, source), _check_below(kind, _TIMING_KIND_COUNT))
        totals = tallies.get(key)
        if totals is None:
            totals = tallies[key] = TimingTotals()
        totals.merge(TimingTotals(_check_count(count), _check_count(total), _check_count(largest)))


def _read_response_bytes(rollup: Rollup, numbers: list[int], names: list[str]) -> None:
    _read_counts(rollup.response_bytes, numbers, names)


def _read_ledger(rollup: Rollup, numbers: list[int], names: list[str]) -> None:
    _read_counts(rollup.ledger, numbers, names)


def _read_counts(counts: dict[str, int], numbers: list[int], names: list[str]) -> None:
    for number, count in _split_rows(numbers, 2):
        name = _name_at(names, number)
        counts[name] = counts.get(name, 0) + _check_count(count)


def _read_sketches(rollup: Rollup, numbers: list[int], names: list[str]) -> None:
    remaining = iter(numbers)
    for number in remaining:
        key = (_name_at(names, number), _check_below(next(remaining), _TIMING_KIND_COUNT))
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
        key = (_name_at(names, source), _check_below(gauge, len(GAUGES)))
        summary = GaugeSummary(
            _check_count(count),
            _check_count(min(last * count + total, _NUMBER_MAX)),
            _check_count(last + smallest),
            _check_count(last + largest),
            _check_count(epoch + offset_ms),
            _check_count(last),
        )
        if key in gauges:
            gauges[key].merge(summary)
        else:
            gauges[key] = summary


def _read_minutes(rollup: Rollup, numbers: list[int], names: list[str]) -> None:
    minutes = rollup.active_minutes
    for number, first, shifted_mask in _split_rows(numbers, 3):
        mask = _check_count(shifted_mask) << _check_below(first, _MINUTES_OF_HOUR)
        if not 0 < mask < 1 << _MINUTES_OF_HOUR:
            raise PackError("minutes outside the hour")
        source = _name_at(names, number)
        minutes[source] = minutes.get(source, 0) | mask


_READ: dict[str, Callable[[Rollup, list[int], list[str]], None]] = {
    "requests": _read_requests,
    "errors": _read_errors,
    "tallies": _read_tallies,
    "response_bytes": _read_response_bytes,
    "sketches": _read_sketches,
    "active_minutes": _read_minutes,
    "ledger": _read_ledger,
}
