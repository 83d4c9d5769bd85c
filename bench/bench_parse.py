"""Framing, parsing and aggregation: Dynometer's code against the hand-tuned baseline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from statistics import median

from app.ingest.aggregator import AcceptanceWindow, Aggregator
from app.rollup.rollup import Rollup
from app.rollup.schema import CORE_GAUGES
from bench import baseline
from bench.corpus import SHARES, START_S, bodies, frames_by_class
from bench.measure import interleaved, median_ratio, table
from parsers import dispatch as heroku
from parsers.framing import split
from parsers.syslog_header import parse_message

LINES = 100
BODIES = 200
HORIZON = AcceptanceWindow(86_400, 300)
ARRIVED_S = START_S + 200


def aggregate(sources: list[bytes]) -> None:
    """Dynometer: a new aggregator for each body, as for each POST."""
    for body in sources:
        Aggregator(ARRIVED_S, HORIZON).add_frames(split(body))


def aggregate_and_pack(sources: list[bytes]) -> None:
    """The same, and packing for the store."""
    for body in sources:
        aggregator = Aggregator(ARRIVED_S, HORIZON)
        aggregator.add_frames(split(body))
        aggregator.pack()


def hand_tuned(sources: list[bytes]) -> None:
    """The baseline: new tables for each body."""
    for body in sources:
        baseline.parse(body, {}, {})


def frame_only(sources: list[bytes]) -> None:
    """Stage 1 of Dynometer's code."""
    for body in sources:
        for _ in split(body):
            pass


def header_only(sources: list[bytes]) -> None:
    """Stages 1 and 2."""
    for body in sources:
        for frame in split(body):
            assert isinstance(frame, bytes)
            parse_message(frame)


def samples_only(sources: list[bytes]) -> None:
    """Stages 1 to 3."""
    for body in sources:
        for frame in split(body):
            assert isinstance(frame, bytes)
            heroku.parse(parse_message(frame))


def assert_same_totals(sources: list[bytes]) -> None:
    """Both count the same requests, codes, times, bytes, bins and runtime metrics."""
    requests: baseline.Requests = {}
    metrics: baseline.Metrics = {}
    aggregator = Aggregator(ARRIVED_S, HORIZON)
    for body in sources:
        baseline.parse(body, requests, metrics)
        aggregator.add_frames(split(body))
    rollup = Rollup()
    for minute_rollup in aggregator.rollups.values():
        rollup.merge(minute_rollup)
    baseline_totals: Counter[object] = Counter()
    for (_, dyno, status, code), (count, service, _, connect, size, bins) in requests.items():
        source = dyno.decode() or "web."
        baseline_totals["request", source, int(status or 0)] += count
        if code:
            baseline_totals["error", source, code.decode()] += count
        baseline_totals.update({"service": service, "connect": connect, "bytes": size})
        baseline_totals.update({("bin", index): n for index, n in bins.items()})
    for (_, dyno, name), (count, total, _) in metrics.items():
        baseline_totals["metric", dyno.decode(), name.decode()] += total
        baseline_totals["readings"] += count
    own_totals = _totals_of(rollup)
    baseline_totals.update({key: 0 for key in own_totals if key not in baseline_totals})
    different = {
        key: (n, own_totals[key]) for key, n in baseline_totals.items() if n != own_totals[key]
    }
    assert not different, different


def _totals_of(rollup: Rollup) -> Counter[object]:
    totals: Counter[object] = Counter()
    totals.update({("request", *key): count for key, count in rollup.requests.items()})
    for (source, code), count in rollup.errors.items():
        if code.startswith("H"):
            totals["error", source, code] += count
    for (_, timing), tally in rollup.tallies.items():
        totals["service" if timing < 2 else "connect"] += tally.total
    for (_, timing), bins in rollup.sketches.items():
        if timing < 2:
            totals.update({("bin", index): count for index, count in bins.items()})
    totals["bytes"] = sum(rollup.response_bytes.values())
    names = list(CORE_GAUGES)
    for (source, index), summary in rollup.gauges.items():
        name = names[index].removesuffix("_bytes").removesuffix("_pages")
        if not name.endswith("ratio"):
            totals["metric", source, f"sample#{name}"] += summary.total
            totals["readings"] += summary.count
    return totals


def main() -> None:
    """Print the tables."""
    frames = frames_by_class()
    mixed_bodies = bodies(frames, SHARES, BODIES, LINES)
    assert_same_totals(mixed_bodies)
    per_line = 1e6 / (BODIES * LINES)
    candidates: dict[str, Callable[[list[bytes]], None]] = {
        "baseline": hand_tuned,
        "Dynometer": aggregate,
        "Dynometer with packing": aggregate_and_pack,
        "frames": frame_only,
        "headers": header_only,
        "samples": samples_only,
    }
    times = interleaved({name: partial(work, mixed_bodies) for name, work in candidates.items()})
    cost = {name: median(samples) * per_line for name, samples in times.items()}
    print(f"\n### Parse and aggregate ({BODIES} bodies of {LINES} lines, mixed; CPU)\n")
    rows = [
        (name, f"{cost[name]:.2f}", f"{median_ratio(times['baseline'], times[name]):.2f}")
        for name in ("baseline", "Dynometer", "Dynometer with packing")
    ]
    print(table(("", "µs per line", "speed relative to the baseline"), rows))
    print("\nTime by stage:\n")
    stages = ("frames", "headers", "samples", "Dynometer", "Dynometer with packing")
    names = ("framing", "headers", "messages", "aggregation", "packing")
    steps = [cost[stages[0]], *(cost[later] - cost[stage] for stage, later in pairwise(stages))]
    print(
        table(
            ("stage", "µs per line"), [(n, f"{s:.2f}") for n, s in zip(names, steps, strict=True)]
        )
    )
    print("\nTime by class of line:\n")
    by_class = []
    for name in SHARES:
        class_bodies = bodies(frames, {name: 1.0}, 40, LINES)
        class_times = interleaved(
            {
                "Dynometer": partial(aggregate, class_bodies),
                "baseline": partial(hand_tuned, class_bodies),
            }
        )
        own_us, baseline_us = (
            median(class_times[name]) * 1e6 / (40 * LINES) for name in ("Dynometer", "baseline")
        )
        by_class.append(
            (name, f"{own_us:.2f}", f"{baseline_us:.2f}", f"{baseline_us / own_us:.2f}")
        )
    print(table(("class", "Dynometer, µs per line", "baseline, µs per line", "ratio"), by_class))


if __name__ == "__main__":
    main()
