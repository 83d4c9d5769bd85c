"""Both forms of the busy paths, side by side."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from app.ingest import aggregator as ingest
from app.ingest.aggregator import AcceptanceWindow, AggregatedBody
from app.rollup import codec as packing
from app.rollup.codec import PackError
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits, Rollup
from parsers.framing import split

compiled_lines: Any = import_module("app.ingest._aggregator")
heads: Any = import_module("app.receivers._request_head")
reading: Any = import_module("app.rollup._decoder")
writing: Any = import_module("app.rollup._encoder")
FastRollup: Any = import_module("app.rollup._rollup").FastRollup

ARRIVED_S = 1_795_341_630.0  # 2026-11-22T10:00:30Z
HORIZON = AcceptanceWindow(86_400, 300)
HEAD = b"POST /drain HTTP/1.1\r\n\r\n"  # what stands before a body
TINY = CardinalityLimits(process_types=2, dynos=3, statuses=2, codes=2, events=2)


def plain_of(
    body: bytes, arrived_s: float, acceptance: AcceptanceWindow, limits: CardinalityLimits
) -> ingest.Aggregator:
    aggregator = ingest.Aggregator(arrived_s, acceptance, limits)
    aggregator.add_promised(7)
    aggregator.add_frames(split(body))
    return aggregator


def compiled_of_body(
    body: bytes,
    arrived_s: float,
    acceptance: AcceptanceWindow,
    limits: CardinalityLimits,
    in_one_go: bool = False,
) -> Any:
    aggregator = compiled_lines.Aggregator(arrived_s, acceptance, limits)
    aggregator.add_promised(7)
    if in_one_go:
        aggregator.add_body(HEAD + body, len(HEAD))
    else:
        for _ in aggregator.add_body_in_steps(HEAD + body, len(HEAD)):
            pass
    return aggregator


def assert_same_of_body(
    body: bytes,
    arrived_s: float = ARRIVED_S,
    acceptance: AcceptanceWindow = HORIZON,
    limits: CardinalityLimits = DEFAULT_LIMITS,
) -> AggregatedBody:
    """Check that both forms aggregate a body alike; returns the result."""
    plain_aggregator = plain_of(body, arrived_s, acceptance, limits)
    aggregator = compiled_of_body(body, arrived_s, acceptance, limits)
    assert aggregator.time_range == plain_aggregator.time_range
    plain, compiled = plain_aggregator.build_body(), aggregator.build_body()
    assert sorted(compiled.rollups) == sorted(plain.rollups)
    assert compiled.ledgers == plain.ledgers
    assert compiled.body_ledger == plain.body_ledger
    assert (compiled.activity, compiled.arrived_s) == (plain.activity, plain.arrived_s)
    for minute, rollup in plain.rollups.items():
        sums: Any = compiled.rollups[minute]
        assert described(sums.rollup()) == described(rollup)
        assert writing.pack(sums, TINY) == packing.pack(rollup.copy(), TINY)
    data = plain.pack()  # applies the limits to the plain rollups
    assert compiled.pack() == data
    assert aggregator.pack() == data
    in_one_go = compiled_of_body(body, arrived_s, acceptance, limits, in_one_go=True)
    assert in_one_go.pack() == data
    assert (in_one_go.time_range, in_one_go.activity) == (
        aggregator.time_range,
        aggregator.activity,
    )
    return plain


def described(rollup: Rollup) -> dict[str, Any]:
    """All that a rollup holds, to be compared."""
    return {name: getattr(rollup, name) for name in Rollup.__slots__}


def assert_same_of_bytes(data: bytes) -> None:
    """What the compiled form reads of packed bytes is what the plain one does; what it refuses, the
    plain one decides about.
    """
    sums = FastRollup()
    try:
        reading.merge_packed(sums, data)
    except PackError:
        return
    assert writing.pack(sums) == packing.pack(packing.unpack(data))


def compiled_of(rollup: Rollup) -> Any:
    sums = FastRollup()
    sums.add(rollup)
    return sums
