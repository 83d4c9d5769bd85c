"""Framing, parsing and summing up: our layered code beside the hand-tuned baseline, in one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from statistics import median

from app.ingest.aggregator import AcceptanceWindow, Aggregator
from app.rollup.rollup import Rollup
from bench import baseline
from bench.corpus import SHARES, START_S, bodies, frames_by_class
from bench.measure import interleaved, median_ratio, table
from parsers import dispatch as heroku
from parsers.framing import split
from parsers.metrics import GAUGES
from parsers.syslog_header import parse_message

LINES = 100
BODIES = 200
HORIZON = AcceptanceWindow(86_400, 300)
ARRIVED_S = START_S + 200


def aggregate(sources: list[bytes]) -> None:
    """Ours: a fresh batch for each body, as for each POST."""
    for body in sources:
        Aggregator(ARRIVED_S, HORIZON).add_frames(split(body))


def aggregate_and_pack(sources: list[bytes]) -> None:
    """As above, and what goes to the store."""
    for body in sources:
        aggregator = Aggregator(ARRIVED_S, HORIZON)
        aggregator.add_frames(split(body))
        aggregator.pack()


def hand_tuned(sources: list[bytes]) -> None:
    """The baseline: fresh tables for each body."""
    for body in sources:
        baseline.parse(body, {}, {})


def frame_only(sources: list[bytes]) -> None:
    """Stage 1 of ours."""
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
    for each in aggregator.rollups.values():
        rollup.merge(each)
    theirs: Counter[object] = Counter()
    for (_, dyno, status, code), (count, service, _, connect, size, bins) in requests.items():
        source = dyno.decode() or "web."
        theirs["request", source, int(status or 0)] += count
        if code:
            theirs["error", source, code.decode()] += count
        theirs.update({"service": service, "connect": connect, "bytes": size})
        theirs.update({("bin", index): n for index, n in bins.items()})
    for (_, dyno, name), (count, total, _) in metrics.items():
        theirs["metric", dyno.decode(), name.decode()] += total
        theirs["readings"] += count
    ours = _totals_of(rollup)
    theirs.update({key: 0 for key in ours if key not in theirs})
    different = {key: (n, ours[key]) for key, n in theirs.items() if n != ours[key]}
    assert not different, different


def _totals_of(rollup: Rollup) -> Counter[object]:
    totals: Counter[object] = Counter()
    totals.update({("request", *key): count for key, count in rollup.requests.items()})
    for (source, code), count in rollup.errors.items():
        if code.startswith("H"):
            totals["error", source, code] += count
    for (_, which), tally in rollup.tallies.items():
        totals["service" if which < 2 else "connect"] += tally.total
    for (_, which), bins in rollup.sketches.items():
        if which < 2:
            totals.update({("bin", index): count for index, count in bins.items()})
    totals["bytes"] = sum(rollup.response_bytes.values())
    for (source, index), reading in rollup.gauges.items():
        name = GAUGES[index].name.removesuffix("_bytes").removesuffix("_pages")
        if not name.endswith("ratio"):
            totals["metric", source, f"sample#{name}"] += reading.total
            totals["readings"] += reading.count
    return totals


def main() -> None:
    """Print the tables."""
    frames = frames_by_class()
    mixed = bodies(frames, SHARES, BODIES, LINES)
    assert_same_totals(mixed)
    per_line = 1e6 / (BODIES * LINES)
    candidates: dict[str, Callable[[list[bytes]], None]] = {
        "baseline": hand_tuned,
        "ours": aggregate,
        "ours and packing": aggregate_and_pack,
        "frames": frame_only,
        "headers": header_only,
        "samples": samples_only,
    }
    times = interleaved({name: partial(work, mixed) for name, work in candidates.items()})
    cost = {name: median(each) * per_line for name, each in times.items()}
    print(f"\n### Parse and aggregate ({BODIES} bodies of {LINES} lines, mixed; CPU)\n")
    rows = [
        (name, f"{cost[name]:.2f}", f"{median_ratio(times['baseline'], times[name]):.2f}")
        for name in ("baseline", "ours", "ours and packing")
    ]
    print(table(("", "µs/line", "speed against the baseline"), rows))
    print("\nWhere our time goes:\n")
    stages = ("frames", "headers", "samples", "ours", "ours and packing")
    names = ("find frames", "read headers", "read messages", "sum up", "pack")
    steps = [cost[stages[0]], *(cost[later] - cost[stage] for stage, later in pairwise(stages))]
    print(table(("stage", "µs/line"), [(n, f"{s:.2f}") for n, s in zip(names, steps, strict=True)]))
    print("\nBy class of line:\n")
    by_class = []
    for name in SHARES:
        alone = bodies(frames, {name: 1.0}, 40, LINES)
        timed = interleaved(
            {"ours": partial(aggregate, alone), "baseline": partial(hand_tuned, alone)}
        )
        ours, theirs = (median(timed[each]) * 1e6 / (40 * LINES) for each in ("ours", "baseline"))
        by_class.append((name, f"{ours:.2f}", f"{theirs:.2f}", f"{theirs / ours:.2f}"))
    print(table(("class", "ours, µs/line", "baseline, µs/line", "ratio"), by_class))


if __name__ == "__main__":
    main()
