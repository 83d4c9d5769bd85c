"""The hot paths, interpreted and compiled: `python -m bench.bench_compiled`.

Measures the way from bodies of 100 lines to packed rollups, and the merge of packed rollups.
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

compiled_aggregator: Any = import_module("app.ingest._aggregator")
compiled_decoder: Any = import_module("app.rollup._decoder")
compiled_rollup: Any = import_module("app.rollup._rollup")
compiled_encoder: Any = import_module("app.rollup._encoder")


def body_packer(aggregator_of: Callable[..., Any], pack: Callable[[Any], bytes]) -> Any:
    """A function from bodies to the bytes of their rollups."""

    def run(sources: list[bytes]) -> list[bytes]:
        payloads = []
        for body in sources:
            aggregator = aggregator_of(ARRIVED_S, HORIZON)
            for _ in aggregator.add_body_in_steps(body):
                pass
            payloads += [pack(rollup) for rollup in aggregator.build_body().rollups.values()]
        return payloads

    return run


def rollup_merger(new_rollup: Callable[[], Any], merge: Callable[[Any, bytes], None]) -> Any:
    """A function that merges packed rollups."""

    def run(sources: list[bytes]) -> None:
        rollup = new_rollup()
        for data in sources:
            merge(rollup, data)

    return run


def main() -> None:
    """Print the table."""
    sources = bodies(frames_by_class(), SHARES, BODIES, LINES)
    pack_interpreted = body_packer(ingest.Aggregator, packing.pack)
    pack_compiled = body_packer(compiled_aggregator.Aggregator, compiled_encoder.pack)
    rollups = pack_interpreted(sources)
    assert pack_compiled(sources) == rollups
    pack_s = interleaved(
        {
            "interpreted": partial(pack_interpreted, sources),
            "compiled": partial(pack_compiled, sources),
        }
    )
    merge_s = interleaved(
        {
            "interpreted": partial(rollup_merger(Rollup, packing.merge_packed), rollups),
            "compiled": partial(
                rollup_merger(compiled_rollup.FastRollup, compiled_decoder.merge_packed), rollups
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
    head = ["form", "µs per line, packed", "million lines per CPU second", "speedup"]
    print("\n### The hot paths, interpreted and compiled\n")
    print(table([*head, "µs to merge a batch", "speedup"], rows))


if __name__ == "__main__":
    main()
