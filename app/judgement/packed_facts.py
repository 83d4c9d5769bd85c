"""An interval in little memory: a window holds two hours of them, for every app.

Packing loses nothing: a packed interval has the fields of the one that it was made of, and unpacks
them when it is asked. In a minute in which all is well, few are. What every detector asks of every
interval stays at hand: its time, whether it was heard and is complete, and its events.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, chain, pairwise
from typing import Any, NamedTuple, cast

import msgspec

from app.judgement.facts import DynoFacts, Interval, TypeFacts
from app.rollup.sketch import Bins

_UNPACKED_MAX = 160  # intervals kept unpacked: those of one app, which detectors ask repeatedly
_SHARED_MAX = 4096  # sets of dynos that intervals share
_SMALL_NAMES = 256  # of a set; larger ones are few
_LEVEL, _WINDOW_BITS, _MEMORY_LEVEL = 6, -12, 4  # of DEFLATE without a header, for some 1,000 bytes
_MILLION, _HUNDRED = 1_000_000, 100  # the parts of ratios and loads (app.rollup.schema)
_EXACT_MAX = 2**53  # whole numbers that a float tells apart, and that MessagePack can hold
_NOTHING: Mapping[Any, Any] = {}  # shared by all intervals without such facts

_TypeForm = tuple[int, int, int, dict[int, int], list[int]]
_DynoForm = tuple[int, int, int | float | None, int | None, int | float | None, int | float | None]


class _PackedForm(NamedTuple):
    """The packed form."""

    messages: int
    unparsed_lines: int
    counted_lines: int
    types: dict[str, _TypeForm]
    dynos: list[_DynoForm]
    codes: dict[tuple[str, str], int]
    exits: dict[tuple[str, int], int]


class _FactsAtHand(NamedTuple):
    messages: int
    unparsed_lines: int
    counted_lines: int
    types: Mapping[str, TypeFacts]
    dynos: Mapping[str, DynoFacts]
    codes: Mapping[tuple[str, str], int]
    exits: Mapping[tuple[str, int], int]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_PackedForm).decode


class _PackedInterval(Interval):
    """An interval whose element `types` is the packed form, and `dynos` the names of the dynos."""

    __slots__ = ()

    @property
    def _facts(self) -> _FactsAtHand:
        return _unpack(self[7], self[8])

    @property
    def messages(self) -> int:
        """As in Interval, and so are the following."""
        return self._facts.messages

    @property
    def unparsed(self) -> int:
        return self._facts.unparsed_lines

    @property
    def counted(self) -> int:
        return self._facts.counted_lines

    @property
    def types(self) -> Mapping[str, TypeFacts]:
        return self._facts.types

    @property
    def dynos(self) -> Mapping[str, DynoFacts]:
        return self._facts.dynos

    @property
    def codes(self) -> Mapping[tuple[str, str], int]:
        return self._facts.codes

    @property
    def exits(self) -> Mapping[tuple[str, int], int]:
        return self._facts.exits

    @property
    def dyno_names(self) -> tuple[str, ...]:
        names: Any = self[8]
        return cast(tuple[str, ...], names)

    @property
    def is_heard(self) -> bool:
        return bool(self[2])


def pack_interval(interval: Interval) -> Interval:
    """Return an interval with the same facts that takes less memory."""
    if isinstance(interval, _PackedInterval):
        return interval
    if not (interval.types or interval.dynos or interval.codes or interval.exits):
        return interval._replace(
            types=_NOTHING, dynos=_NOTHING, codes=_NOTHING, exits=_NOTHING, rollup=None
        )
    names = _share(tuple(sorted(interval.dynos)))
    form = _PackedForm(
        interval.messages,
        interval.unparsed,
        interval.counted,
        {process_type: _pack_type(facts) for process_type, facts in interval.types.items()},
        [_pack_dyno(interval.dynos[name]) for name in names],
        dict(interval.codes),
        dict(interval.exits),
    )
    data: Any = _deflate(_encode(form))
    return _PackedInterval(
        interval.start_s,
        interval.length_s,
        interval.is_heard,
        0,
        0,
        interval.lost,
        interval.maintenance,
        data,
        cast(Any, names),
        _NOTHING,
        _NOTHING,
        interval.events,
        interval.is_complete,
    )


@lru_cache(maxsize=_UNPACKED_MAX)
def _unpack(data: bytes, names: tuple[str, ...]) -> _FactsAtHand:
    form = _decode(zlib.decompress(data, _WINDOW_BITS))
    return _FactsAtHand(
        *form[:3],
        {process_type: _unpack_type(facts) for process_type, facts in form.types.items()},
        {name: _unpack_dyno(facts) for name, facts in zip(names, form.dynos, strict=True)},
        form.codes,
        form.exits,
    )


def _deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL)
    return compressor.compress(data) + compressor.flush()


def _pack_type(facts: TypeFacts) -> _TypeForm:
    return (
        facts.requests,
        facts.failed,
        facts.websockets,
        dict(facts.statuses),
        _flatten(facts.times),
    )


def _unpack_type(form: _TypeForm) -> TypeFacts:
    requests, failures, websockets, statuses, numbers = form
    return TypeFacts(requests, failures, _unflatten(numbers), websockets, statuses)


def _flatten(times: Mapping[int, int]) -> list[int]:
    """The counts of a sketch, each after its distance to the bin before: small numbers."""
    bins = sorted(times)
    distances = (later - earlier for earlier, later in pairwise(chain((0,), bins)))
    return list(chain.from_iterable(zip(distances, map(times.__getitem__, bins), strict=True)))


def _unflatten(numbers: Sequence[int]) -> Bins:
    return dict(zip(accumulate(numbers[::2]), numbers[1::2], strict=True))


def _pack_dyno(facts: DynoFacts) -> _DynoForm:
    return (
        facts.requests,
        facts.failed,
        _shorten(facts.time_mean_ms, facts.requests - facts.failed),
        facts.time_max_ms,
        _shorten(facts.memory_ratio, _MILLION),
        _shorten(facts.load, _HUNDRED),
    )


def _unpack_dyno(form: _DynoForm) -> DynoFacts:
    requests, failures, mean_ms, max_ms, ratio, load = form
    return DynoFacts(
        requests,
        failures,
        _lengthen(mean_ms, requests - failures),
        max_ms,
        _lengthen(ratio, _MILLION),
        _lengthen(load, _HUNDRED),
    )


def _shorten(value: float | None, parts: int) -> int | float | None:
    """A number of parts where it gives exactly this value again; else the value."""
    if value is None or parts <= 0:
        return value
    number = round(value * parts)
    return number if abs(number) < _EXACT_MAX and number / parts == value else float(value)


def _lengthen(form: int | float | None, parts: int) -> float | None:
    return form / parts if isinstance(form, int) else form


def _share(names: tuple[str, ...]) -> tuple[str, ...]:
    return _share_small(names) if len(names) <= _SMALL_NAMES else _share_large(names)


@lru_cache(maxsize=_SHARED_MAX)
def _share_small(names: tuple[str, ...]) -> tuple[str, ...]:
    return names


@lru_cache(maxsize=_SHARED_MAX // _SMALL_NAMES)
def _share_large(names: tuple[str, ...]) -> tuple[str, ...]:
    return names
