"""The size of a packed minute, by traffic and dynos."""

from __future__ import annotations

from app.ingest.aggregator import AcceptanceWindow, Aggregator
from app.rollup.codec import pack
from app.rollup.rollup import Rollup
from bench.corpus import START_S, simulated_lines
from bench.measure import table
from parsers.framing import split

MINUTE_S = 60
REQUESTS_PER_MINUTE = (60, 1_000, 10_000)
DYNOS = (1, 8)
REQUESTS_PER_LINE = 0.6


def minute(dynos: int, requests_per_minute: int) -> Rollup:
    """One minute of a simulated app."""
    rate = requests_per_minute / MINUTE_S / REQUESTS_PER_LINE
    aggregator = Aggregator(START_S + MINUTE_S, AcceptanceWindow(86_400, 300))
    for line in simulated_lines(dynos=dynos, lines_per_s=rate, seconds=MINUTE_S):
        aggregator.add_frames(split(line.frame))
    return aggregator.rollups[int(START_S)]


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


if __name__ == "__main__":
    main()
