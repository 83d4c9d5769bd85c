"""Rollup <-> bytes. What is stored is stored in this form; it is meant to last.

    rollup   = [VERSION, messages, names, section × 8, later]
    MessagePack
    names    = [label, …]               every source, process type, code and ledger name once
    section  = binary: a MessagePack array of whole numbers, rows one after the other; #x is a
    position in names
      requests        #source, status, count
      errors          #source, #code, count
      tallies         #source, which, count, total, largest
      response_bytes  #process type, bytes
      sketches        #process type, which, run …, 0
                      run: counts of consecutive bins; a negative number skips that many bins
      gauges          epoch, then rows: #source, gauge, last_at - epoch, last, count,
                      total - count · last, smallest - last, largest - last
      minutes         #source, first minute, minutes >> first minute
      ledger          #name, count
    later    = [[tag, binary], …]       sections that were added later, and those of newer
    versions (codec_extensions); they hold no positions in names

Sections are binaries so that a reader steps over those it does not need. Rows are sorted: equal
rollups give equal bytes.

Numbers end at 63 bits: sums that would be larger, which takes lines that lie, stay at the limit.
That keeps merging associative, and a hostile sender from making what cannot be read again.

To add something, add a tag to `later`: a version that does not know the tag keeps it through every
merge. What would change the meaning of a section needs a new VERSION, and readers that know both
before the first writer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

import msgspec

from app.rollup import codec_extensions as later
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits, Rollup
from app.rollup.sketch import BIN_COUNT
from app.rollup.tallies import GaugeSummary, TimingTotals
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
_FIRST = frozenset(SECTIONS)
ALL = _FIRST | later.TAGS

Gauges = frozenset[int] | None  # which of them; None: all
_WHICH_COUNT = 4
_GAUGE_ROW = 8
_MINUTES_OF_HOUR = 60
_STATUS_MAX = 599
_KEY = itemgetter(0)
_NUMBER_MAX = 2**63 - 1


class PackError(ValueError):
    """These bytes are not a rollup. What they were absorbed into may hold half of them: drop it."""


class NewerVersion(PackError, UserError):
    """A newer Dynometer wrote this: upgrade this process."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"data of format {version} was written by a newer Dynometer (this one reads "
            f"{VERSION}): upgrade this process"
        )


class _Packed(msgspec.Struct, array_like=True, gc=False):
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
    later: list[tuple[str, bytes]]


class _Versioned(msgspec.Struct, array_like=True, gc=False):
    version: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode
_decode_version = msgspec.msgpack.Decoder(_Versioned).decode
_decode_numbers = msgspec.msgpack.Decoder(list[int]).decode


# --- writing ------------------------------------------------------------------------------------


class _Names:
    """Gives each label a number as it first appears."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, name: str) -> int:
        number = self.numbers.get(name)
        if number is None:
            number = self.numbers[name] = len(self.numbers)
        return number


def pack(rollup: Rollup, limits: CardinalityLimits = DEFAULT_LIMITS) -> bytes:
    """The rollup's bytes; first it is bounded by the caps."""
    rollup.apply_limits(limits)
    number = _Names()
    sections = [
        _encode(_limited(list(_WRITE[name](getattr(rollup, name), number)))) for name in SECTIONS
    ]
    messages = min(rollup.messages, _NUMBER_MAX)
    added = sorted([*rollup.extensions, *later.written(rollup)])
    return _encode([VERSION, messages, list(number.numbers), *sections, added])


def _limited(numbers: list[int]) -> list[int]:
    if numbers and (max(numbers) > _NUMBER_MAX or min(numbers) < -_NUMBER_MAX):
        return [max(-_NUMBER_MAX, min(number, _NUMBER_MAX)) for number in numbers]
    return numbers


def _write_requests(requests: dict[tuple[str, int], int], number: _Names) -> Iterator[int]:
    for (source, status), count in sorted(requests.items()):
        yield from (number(source), status, count)


def _write_errors(errors: dict[tuple[str, str], int], number: _Names) -> Iterator[int]:
    for (source, code), count in sorted(errors.items()):
        yield from (number(source), number(code), count)


def _write_tallies(tallies: dict[tuple[str, int], TimingTotals], number: _Names) -> Iterator[int]:
    for (source, which), tally in sorted(tallies.items(), key=_KEY):
        yield from (number(source), which, tally.count, tally.total, tally.largest)


def _write_counts(counts: dict[str, int], number: _Names) -> Iterator[int]:
    for name, count in sorted(counts.items()):
        yield from (number(name), count)


def _write_sketches(
    sketches: dict[tuple[str, int], dict[int, int]], number: _Names
) -> Iterator[int]:
    for (process_type, which), bins in sorted(sketches.items(), key=_KEY):
        yield from (number(process_type), which)
        after = 0
        for index, count in sorted(bins.items()):
            if index != after:
                yield after - index
            yield count
            after = index + 1
        yield 0


def _write_gauges(gauges: dict[tuple[str, int], GaugeSummary], number: _Names) -> Iterator[int]:
    if not gauges:
        return
    epoch = min(reading.last_at_ms for reading in gauges.values())
    yield epoch
    for (source, gauge), reading in sorted(gauges.items(), key=_KEY):
        last = reading.last
        yield from (number(source), gauge, reading.last_at_ms - epoch, last, reading.count)
        yield min(reading.total, _NUMBER_MAX) - last * reading.count
        yield from (reading.smallest - last, reading.largest - last)


def _write_minutes(minutes: dict[str, int], number: _Names) -> Iterator[int]:
    for source, mask in sorted(minutes.items()):
        first = (mask & -mask).bit_length() - 1
        yield from (number(source), first, mask >> first)


_WRITE: dict[str, Callable[[Any, _Names], Iterator[int]]] = {
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
    """The rollup of these bytes.

    Raises:
        PackError, NewerVersion
    """
    rollup = Rollup()
    merge_packed(rollup, data)
    return rollup


def merge_packed(
    rollup: Rollup, data: bytes, sections: frozenset[str] = ALL, *, gauges: Gauges = None
) -> None:
    """Merge packed bytes into a rollup: of the sections only those named, which alone are decoded,
    and of the gauges only these, unless it is None.

    Raises:
        PackError: the bytes are damaged; `rollup` may hold half of them.
        NewerVersion: a newer Dynometer wrote them.
    """
    try:
        packed = _decode(data)
    except UNREADABLE as error:
        raise pack_error(data, error, VERSION) from None
    if packed.version != VERSION:
        raise pack_error(data, ValueError("unknown version"), VERSION)
    rollup.messages += _count(packed.messages)
    for name in SECTIONS if sections is ALL else sections & _FIRST:
        section: bytes = getattr(packed, name)
        if section == _EMPTY:
            continue
        try:
            numbers = _decode_numbers(section)
            if name == "gauges":
                _read_gauges(rollup, numbers, packed.names, gauges)
            else:
                _READ[name](rollup, numbers, packed.names)
        except UNREADABLE as error:
            raise PackError(f"{name}: {error}") from None
        except (IndexError, StopIteration):
            raise PackError(f"{name}: ends early") from None
    try:
        later.read(rollup, packed.later, sections, keep_unknown=sections is ALL)
    except (*UNREADABLE, ValueError) as error:
        raise PackError(str(error)) from None


_EMPTY = _encode([])
UNREADABLE = (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError)


def pack_error(data: bytes, error: Exception, known: int) -> PackError:
    """NewerVersion when the bytes say so, otherwise what is wrong with them."""
    try:
        version = _decode_version(data).version
    except UNREADABLE:
        return PackError(str(error))
    return NewerVersion(version) if version > known else PackError(str(error))


def _count(value: int) -> int:
    """A number that must not be negative."""
    if not 0 <= value <= _NUMBER_MAX:
        raise PackError(f"{value} is no count")
    return value


def _within(value: int, size: int) -> int:
    """A position that must lie in [0, size)."""
    if not 0 <= value < size:
        raise PackError(f"{value} is not below {size}")
    return value


def _rows(numbers: list[int], width: int) -> Iterator[list[int]]:
    if len(numbers) % width:
        raise PackError("ends early")
    for start in range(0, len(numbers), width):
        yield numbers[start : start + width]


def _name(names: list[str], number: int) -> str:
    if number < 0:
        raise PackError(f"{number} is no label")
    return names[number]


def _read_requests(rollup: Rollup, numbers: list[int], names: list[str]) -> None:
    requests = rollup.requests
    for source, status, count in _rows(numbers, 3):
        key = (_name(names, source), _within(status, _STATUS_MAX + 1))
        requests[key] = requests.get(key, 0) + _count(count)


def _read_errors(rollup: Rollup, numbers: list[int], names: list[str]) -> None:
    errors = rollup.errors
    for source, code, count in _rows(numbers, 3):
        key = (_name(names, source), _name(names, code))
        errors[key] = errors.get(key, 0) + _count(count)


def _read_tallies(rollup: Rollup, numbers: list[int], names: list[str]) -> None:
    tallies = rollup.tallies
    for source, which, count, total, largest in _rows(numbers, 5):
        key = (_name(names, source), _within(which, _WHICH_COUNT))
        tally = tallies.get(key)
        if tally is None:
            tally = tallies[key] = TimingTotals()
        tally.merge(TimingTotals(_count(count), _count(total), _count(largest)))


def _read_response_bytes(rollup: Rollup, numbers: list[int], names: list[str]) -> None:
    _read_counts(rollup.response_bytes, numbers, names)


def _read_ledger(rollup: Rollup, numbers: list[int], names: list[str]) -> None:
    _read_counts(rollup.ledger, numbers, names)


def _read_counts(counts: dict[str, int], numbers: list[int], names: list[str]) -> None:
    for number, count in _rows(numbers, 2):
        name = _name(names, number)
        counts[name] = counts.get(name, 0) + _count(count)


def _read_sketches(rollup: Rollup, numbers: list[int], names: list[str]) -> None:
    rest = iter(numbers)
    for number in rest:
        key = (_name(names, number), _within(next(rest), _WHICH_COUNT))
        bins = rollup.sketches.setdefault(key, {})
        index = 0
        while value := next(rest):
            if value < 0:
                index -= value
            else:
                bins[index] = bins.get(index, 0) + value
                index += 1
        if index > BIN_COUNT:
            raise PackError(f"{index} is not a bin")


def _read_gauges(rollup: Rollup, numbers: list[int], names: list[str], only: Gauges = None) -> None:
    gauges = rollup.gauges
    epoch = numbers[0]
    if (len(numbers) - 1) % _GAUGE_ROW:
        raise PackError("ends early")
    for start in range(1, len(numbers), _GAUGE_ROW):
        gauge = numbers[start + 1]
        if only is not None and gauge not in only:
            continue
        row = numbers[start : start + _GAUGE_ROW]
        source, _, after, last, count, total, smallest, largest = row
        if count < 1:
            raise PackError("a gauge without readings")
        key = (_name(names, source), _within(gauge, len(GAUGES)))
        reading = GaugeSummary(
            _count(count),
            _count(min(last * count + total, _NUMBER_MAX)),
            _count(last + smallest),
            _count(last + largest),
            _count(epoch + after),
            _count(last),
        )
        if key in gauges:
            gauges[key].merge(reading)
        else:
            gauges[key] = reading


def _read_minutes(rollup: Rollup, numbers: list[int], names: list[str]) -> None:
    minutes = rollup.active_minutes
    for number, first, shifted in _rows(numbers, 3):
        mask = _count(shifted) << _within(first, _MINUTES_OF_HOUR)
        if not 0 < mask < 1 << _MINUTES_OF_HOUR:
            raise PackError("minutes outside the hour")
        source = _name(names, number)
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
