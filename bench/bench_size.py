"""The size of a packed minute, by traffic and dynos, and of open metrics over all their limits."""

from __future__ import annotations

import random
from collections.abc import Callable

from app.ingest.aggregator import AcceptanceWindow, Aggregator
from app.rollup.codec import pack
from app.rollup.rollup import Rollup
from bench.corpus import START_S, simulated_lines
from bench.measure import table
from parsers.framing import split
from parsers.numbers import MILLION, Quantity, parse_quantity
from parsers.samples import AddonSamples, CustomMark, CustomMarks, LanguageMetrics

MINUTE_S = 60
REQUESTS_PER_MINUTE = (60, 1_000, 10_000)
DYNOS = (1, 8)
REQUESTS_PER_LINE = 0.6
MARK_KINDS = ("count", "measure", "sample")
_NUMBER = Quantity(12_345 * MILLION, 12_345.0, "")


def minute(dynos: int, requests_per_minute: int) -> Rollup:
    """One minute of a simulated app."""
    rate = requests_per_minute / MINUTE_S / REQUESTS_PER_LINE
    aggregator = Aggregator(START_S + MINUTE_S, AcceptanceWindow(86_400, 300))
    for line in simulated_lines(dynos=dynos, lines_per_s=rate, seconds=MINUTE_S):
        aggregator.add_frames(split(line.frame))
    return aggregator.rollups[int(START_S)]


def _custom(rollup: Rollup) -> None:
    """Times of wide spread, twice as many names as the limit, and 100 sources."""
    rng = random.Random(1)
    for source in range(100):
        for number in range(400):
            quantity = parse_quantity(b"%.3fms" % rng.lognormvariate(3, 2))
            assert quantity is not None
            name = f"name.of.metric.{number}"
            marks = tuple(CustomMark(kind, name, quantity) for kind in MARK_KINDS)
            for dyno in ("web.1", "web.2"):
                rollup.observe(CustomMarks(dyno, f"s{source}", marks), 0)


def _language(rollup: Rollup) -> None:
    marks = tuple(
        CustomMark(kind, f"name.of.metric.{number}", _NUMBER)
        for kind in ("count", "sample")
        for number in range(300)
    )
    for dyno in range(100):
        rollup.observe(LanguageMetrics(f"web.{dyno}", marks), 0)


def _addons(rollup: Rollup) -> None:
    values = tuple((f"postgres.sample-{number}", _NUMBER) for number in range(400))
    for number in range(100):
        rollup.observe(AddonSamples(f"postgresql-round-{number}", "DATABASE", values), 0)


def _packed_bytes(fill: Callable[[Rollup], None]) -> int:
    rollup = Rollup()
    fill(rollup)
    return len(pack(rollup))


def main() -> None:
    """Print the table."""
    print("\n### A packed minute\n")
    rows = []
    for dynos in DYNOS:
        for requests in REQUESTS_PER_MINUTE:
            rollup = minute(dynos, requests)
            request_count = sum(rollup.requests.values())
            rows.append((str(dynos), f"{request_count:,}", f"{len(pack(rollup)):,}"))
    print(table(("dynos", "requests in the minute", "bytes"), rows))
    print("\n### An interval of open metrics over all limits\n")
    fills = {"custom": _custom, "language": _language, "add-ons": _addons}
    sizes = [(family, f"{_packed_bytes(fill):,}") for family, fill in fills.items()]
    print(table(("family", "bytes"), sizes))


if __name__ == "__main__":
    main()
