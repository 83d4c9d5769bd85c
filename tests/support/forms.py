"""The compiled and the Python implementation of the hot paths, side by side."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from app.ingest import aggregator as ingest
from app.ingest.aggregator import AcceptanceWindow, AggregatedBody
from app.rollup import codec
from app.rollup.codec import PackError
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits, Rollup
from parsers.framing import split

compiled_aggregator: Any = import_module("app.ingest._aggregator")
compiled_head: Any = import_module("app.receivers._request_head")
decoder: Any = import_module("app.rollup._decoder")
encoder: Any = import_module("app.rollup._encoder")
FastRollup: Any = import_module("app.rollup._rollup").FastRollup

ARRIVED_S = 1_795_341_630.0  # 2026-11-22T10:00:30Z
ACCEPTANCE = AcceptanceWindow(86_400, 300)
HEAD = b"POST /drain HTTP/1.1\r\n\r\n"  # stands before the body in the buffer of a connection
TINY = CardinalityLimits(
    process_types=2,
    dynos=3,
    statuses=2,
    codes=2,
    events=2,
    open_names=2,
    open_series=3,
    open_bins=3,
)


def aggregate_in_python(
    body: bytes,
    arrived_s: float,
    acceptance: AcceptanceWindow,
    limits: CardinalityLimits,
    reads_marks: bool = False,
) -> ingest.Aggregator:
    aggregator = ingest.Aggregator(arrived_s, acceptance, limits, reads_marks)
    aggregator.add_promised(7)
    aggregator.add_frames(split(body))
    return aggregator


def aggregate_compiled(
    body: bytes,
    arrived_s: float,
    acceptance: AcceptanceWindow,
    limits: CardinalityLimits,
    reads_marks: bool = False,
    *,
    in_one_call: bool = False,
) -> Any:
    aggregator = compiled_aggregator.Aggregator(arrived_s, acceptance, limits, reads_marks)
    aggregator.add_promised(7)
    if in_one_call:
        aggregator.add_body(HEAD + body, len(HEAD))
    else:
        for _ in aggregator.add_body_in_steps(HEAD + body, len(HEAD)):
            pass
    return aggregator


def assert_same_aggregation(
    body: bytes,
    arrived_s: float = ARRIVED_S,
    acceptance: AcceptanceWindow = ACCEPTANCE,
    limits: CardinalityLimits = DEFAULT_LIMITS,
    reads_marks: bool = False,
) -> AggregatedBody:
    """Assert that both implementations aggregate a body alike; return the aggregated body."""
    python_aggregator = aggregate_in_python(body, arrived_s, acceptance, limits, reads_marks)
    aggregator = aggregate_compiled(body, arrived_s, acceptance, limits, reads_marks)
    assert aggregator.time_range == python_aggregator.time_range
    python_body, compiled_body = python_aggregator.build_body(), aggregator.build_body()
    assert sorted(compiled_body.rollups) == sorted(python_body.rollups)
    assert compiled_body.ledgers == python_body.ledgers
    assert compiled_body.body_ledger == python_body.body_ledger
    assert (compiled_body.activity, compiled_body.arrived_s) == (
        python_body.activity,
        python_body.arrived_s,
    )
    for minute, rollup in python_aggregator.rollups.items():
        fast_rollup: Any = compiled_body.rollups[minute]
        assert fields_of(fast_rollup.to_rollup()) == fields_of(rollup)
        assert encoder.pack(fast_rollup.copy(), TINY) == codec.pack(rollup.copy(), TINY)
    data = python_body.pack()  # also cuts python_body to the limits
    assert compiled_body.pack() == data
    assert aggregator.pack() == data
    one_call_aggregator = aggregate_compiled(
        body, arrived_s, acceptance, limits, reads_marks, in_one_call=True
    )
    assert one_call_aggregator.pack() == data
    assert (one_call_aggregator.time_range, one_call_aggregator.activity) == (
        aggregator.time_range,
        aggregator.activity,
    )
    return python_body


def fields_of(rollup: Rollup) -> dict[str, Any]:
    """Return all data of a rollup, for comparison."""
    return {name: getattr(rollup, name) for name in vars(rollup)}


def assert_same_reading(data: bytes) -> None:
    """Assert that the codec reads the same from bytes that the compiled decoder accepts.

    Bytes that the decoder rejects are left to the codec.
    """
    rollup = FastRollup()
    try:
        decoder.merge_packed(rollup, data)
    except PackError:
        return
    assert encoder.pack(rollup) == codec.pack(codec.unpack(data))


def to_fast_rollup(rollup: Rollup) -> Any:
    fast_rollup = FastRollup()
    fast_rollup.add(rollup)
    return fast_rollup
