"""The compact form of `addon_samples` in packed rollups: samples by number, add-ons once.

A minute of a database and a cache has some 50 samples. Each row of the section has four texts, most
of them longer than its numbers. So samples that Heroku documents are packed in a section of their
own, tagged TAG:

    groups = [[addon, attachment, numbers], …]                    sorted by addon and attachment
    numbers = latest_ms, then rows: #sample, latest_ms - last_at, count, last, millionths of last
              more columns if count > 1: whole - count · last, millionths - count · those of last,
              smallest - the last number, largest - the last number (both in millionths)

#sample is a position in SAMPLES. The last number is `last` plus its millionths. The columns are
those of app.rollup.summaries.NumberSummary. Rows that do not fit are packed by their names: other
samples, other units, and sums near 63 bits, which only forged lines have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from app.rollup.summaries import NumberSummary
from parsers.numbers import MILLION

SECTION = "addon_samples"
TAG = "addons"
COUNT_MAX = 2**42
SUM_MAX = 2**62

AddonKey = tuple[str, str, str, str]  # addon, name, unit, attachment

# NAME:UNIT, or NAME without a unit. A position is a part of the stored format, so this list never
# changes: other samples are stored by their names.
_SAMPLES = """
postgres.active-connections postgres.connections-percentage-used postgres.current_transaction
postgres.db-size-percentage-used postgres.db_size:bytes postgres.follower-lag-commits
postgres.index-cache-hit-rate postgres.iops-percentage-used postgres.load-avg-15m
postgres.load-avg-1m postgres.load-avg-5m postgres.max-connections postgres.max-iops
postgres.memory-cached:bytes postgres.memory-free:bytes postgres.memory-percentage-used
postgres.memory-postgres:bytes postgres.memory-total:bytes postgres.read-iops
postgres.table-cache-hit-rate postgres.tables postgres.tmp-disk-available:bytes
postgres.tmp-disk-used:bytes postgres.waiting-connections postgres.wal-percentage-used
postgres.write-iops
redis.active-connections redis.connection-percentage-used redis.evicted-keys redis.hit-rate
redis.iops-percentage-used redis.load-avg-15m redis.load-avg-1m redis.load-avg-5m
redis.max-connections redis.max-iops redis.memory-cached:bytes redis.memory-free:bytes
redis.memory-percentage-used redis.memory-redis:bytes redis.memory-total:bytes redis.read-iops
redis.write-iops
pgbouncer.avg_query pgbouncer.avg_recv:bytes pgbouncer.avg_sent:bytes pgbouncer.client_active
pgbouncer.client_waiting pgbouncer.max_wait pgbouncer.server_active pgbouncer.server_idle
"""
SAMPLES = tuple((name, unit) for name, _, unit in (w.partition(":") for w in _SAMPLES.split()))
NUMBERS = {sample: number for number, sample in enumerate(SAMPLES)}

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[str, str, list[int]]]).decode


def pack_addons(
    rows: Mapping[AddonKey, NumberSummary],
) -> tuple[bytes, dict[AddonKey, NumberSummary]]:
    """Pack the rows that have the compact form, b"" if there are none; also return the others."""
    groups: dict[tuple[str, str], dict[int, NumberSummary]] = {}
    others = {}
    for key, summary in rows.items():
        addon, name, unit, attachment = key
        number = NUMBERS.get((name, unit))
        if number is None or not _fits(summary):
            others[key] = summary
        else:
            groups.setdefault((addon, attachment), {})[number] = summary
    packed = [[*names, list(_write(group))] for names, group in sorted(groups.items())]
    return _encode(packed) if packed else b"", others


def _fits(summary: NumberSummary) -> bool:
    whole, millionths = divmod(summary.last, MILLION)
    if summary.count == 1:
        values = (1, whole, millionths, summary.last, summary.last)
        if msgspec.structs.astuple(summary)[:5] != values:
            return False
    sums = (summary.whole, summary.millionths, whole * summary.count, summary.last)
    return (
        1 <= summary.count <= COUNT_MAX
        and 0 <= summary.last_at_ms < SUM_MAX
        and all(
            -SUM_MAX < number < SUM_MAX for number in (*sums, summary.smallest, summary.largest)
        )
    )


def _write(group: Mapping[int, NumberSummary]) -> Iterator[int]:
    latest_ms = max(summary.last_at_ms for summary in group.values())
    yield latest_ms
    for number, summary in sorted(group.items()):
        last, count = summary.last, summary.count
        whole, millionths = divmod(last, MILLION)
        yield from (number, latest_ms - summary.last_at_ms, count, whole, millionths)
        if count > 1:
            yield summary.whole - whole * count
            yield summary.millionths - millionths * count
            yield summary.smallest - last
            yield summary.largest - last


def unpack_addons(data: bytes) -> Iterator[tuple[AddonKey, NumberSummary]]:
    """Yield the rows that `pack_addons` packed.

    Raises:
        ValueError, msgspec.DecodeError: the bytes are damaged.
    """
    for addon, attachment, numbers in _decode(data):
        remaining = iter(numbers)
        try:
            latest_ms = next(remaining)
            for number in remaining:
                name, unit = SAMPLES[_check(number, 0, len(SAMPLES) - 1)]
                yield (addon, name, unit, attachment), _read(remaining, latest_ms)
        except StopIteration:
            raise ValueError("a group ends early") from None


def _read(numbers: Iterator[int], latest_ms: int) -> NumberSummary:
    last_at_ms = _check(latest_ms - _check(next(numbers), 0), 0)
    count = _check(next(numbers), 1, COUNT_MAX)
    whole, millionths = next(numbers), _check(next(numbers), 0, MILLION - 1)
    last = _check(whole * MILLION + millionths)
    if count == 1:
        return NumberSummary(1, whole, millionths, last, last, last_at_ms, last)
    return NumberSummary(
        count,
        _check(_check(whole * count) + next(numbers)),
        _check(millionths * count + next(numbers)),
        _check(last + next(numbers)),
        _check(last + next(numbers)),
        last_at_ms,
        last,
    )


def _check(number: int, smallest: int = 1 - SUM_MAX, largest: int = SUM_MAX - 1) -> int:
    """Return the number; raise ValueError unless it is within these."""
    if not smallest <= number <= largest:
        raise ValueError(f"{number} is not in [{smallest}, {largest}]")
    return number
