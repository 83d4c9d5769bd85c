"""The busy paths in both forms: from bodies of 100 lines to packed batches, and packed batches
merged. `python -m bench.bench_compiled`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from statistics import median
from typing import Any

from app.ingest import aggregator as ingest
from app.ingest.aggregator import AcceptanceWindow
from app.rollup import codec as packing
from app.rollup.rollup import Rollup
from bench.corpus import SHARES, START_S, bodies, frames_by_class
from bench.measure import interleaved, median_ratio, table

LINES = 100
BODIES = 200
HORIZON = AcceptanceWindow(86_400, 300)
ARRIVED_S = START_S + 200

compiled_lines: Any = import_module("app.ingest._aggregator")
compiled_reading: Any = import_module("app.rollup._decoder")
compiled_sums: Any = import_module("app.rollup._rollup")
compiled_writing: Any = import_module("app.rollup._encoder")


def packed(aggregator_of: Callable[..., Any], pack: Callable[[Any], bytes]) -> Any:
    """From bodies to the bytes of their rollups."""

    def run(sources: list[bytes]) -> list[bytes]:
        found = []
        for body in sources:
            aggregator = aggregator_of(ARRIVED_S, HORIZON)
            for _ in aggregator.add_body_in_steps(body):
                pass
            found += [pack(rollup) for rollup in aggregator.build_body().rollups.values()]
        return found

    return run


def merged(sums_of: Callable[[], Any], absorb: Callable[[Any, bytes], None]) -> Any:
    """The merge of packed rollups."""

    def run(sources: list[bytes]) -> None:
        sums = sums_of()
        for data in sources:
            absorb(sums, data)

    return run


def main() -> None:
    """Print the table."""
    sources = bodies(frames_by_class(), SHARES, BODIES, LINES)
    plain = packed(ingest.Aggregator, packing.pack)
    compiled = packed(compiled_lines.Aggregator, compiled_writing.pack)
    rollups = plain(sources)
    assert compiled(sources) == rollups
    pack_s = interleaved(
        {"interpreted": partial(plain, sources), "compiled": partial(compiled, sources)}
    )
    merge_s = interleaved(
        {
            "interpreted": partial(merged(Rollup, packing.merge_packed), rollups),
            "compiled": partial(
                merged(compiled_sums.FastRollup, compiled_reading.merge_packed), rollups
            ),
        }
    )
    rows = []
    for form in ("interpreted", "compiled"):
        per_line_s = median(pack_s[form]) / (BODIES * LINES)
        rows.append(
            [
                form,
                f"{per_line_s * 1e6:.2f}",
                f"{1 / per_line_s / 1e6:.2f}",
                f"{median_ratio(pack_s['interpreted'], pack_s[form]):.1f}",
                f"{median(merge_s[form]) / len(rollups) * 1e6:.0f}",
                f"{median_ratio(merge_s['interpreted'], merge_s[form]):.1f}",
            ]
        )
    head = ["form", "µs a line, packed", "million lines a CPU second", "times as fast"]
    print("\n### The busy paths, interpreted and compiled\n")
    print(table([*head, "µs to merge a batch", "times as fast"], rows))


if __name__ == "__main__":
    main()
