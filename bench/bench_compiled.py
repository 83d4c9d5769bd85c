"""The hot paths, interpreted and compiled: `python -m bench.bench_compiled`.

Measures the way from bodies of 100 lines to packed batches, for each corpus of bench.corpora, and
the merge of packed rollups.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from statistics import median
from typing import Any

from app.ingest import aggregator as ingest
from app.ingest.aggregator import AcceptanceWindow
from app.rollup import codec
from app.rollup.rollup import Rollup
from bench.corpora import CORPORA, LINES, WITH_MARKS, corpus_bodies
from bench.corpus import START_S
from bench.measure import ROUNDS, interleaved, median_ratio, table

BODIES = 100
INTERPRETED_ROUNDS = 3
HORIZON = AcceptanceWindow(86_400, 300)
ARRIVED_S = START_S + 200

compiled_aggregator: Any = import_module("app.ingest._aggregator")
compiled_decoder: Any = import_module("app.rollup._decoder")
compiled_rollup: Any = import_module("app.rollup._rollup")


def pack_batches(
    aggregator_of: Callable[..., Any], sources: list[bytes], *, reads_marks: bool = False
) -> list[bytes]:
    """The batch of each body."""
    batches = []
    for body in sources:
        aggregator = aggregator_of(ARRIVED_S, HORIZON, reads_marks=reads_marks)
        aggregator.add_body(body)
        batches.append(aggregator.pack())
    return batches


def merge_batches(new_rollup: Callable[[], Any], merge: Callable[..., None], data: Any) -> None:
    """Merge packed rollups."""
    rollup = new_rollup()
    for rollup_data in data:
        merge(rollup, rollup_data)


def main() -> None:
    """Print the tables."""
    print(f"\n### From bodies of {LINES} lines to packed batches (µs per line, CPU)\n")
    print(table(("corpus", "compiled", "interpreted", "ratio to usual lines"), _parse_rows()))
    print("\n### Merging packed rollups (µs per batch, CPU)\n")
    print(table(("compiled", "interpreted", "speedup"), [_merge_row()]))


def _parse_rows() -> list[list[str]]:
    forms = {corpus: (corpus, corpus in WITH_MARKS) for corpus in CORPORA}
    forms |= {
        "usual, custom metrics on": ("usual", True),
        "marks, custom metrics off": ("marks", False),
    }
    sources = {corpus: corpus_bodies(corpus, BODIES) for corpus in CORPORA}
    compiled, interpreted = (
        {
            form: partial(pack_batches, of, sources[corpus], reads_marks=reads_marks)
            for form, (corpus, reads_marks) in forms.items()
        }
        for of in (compiled_aggregator.Aggregator, ingest.Aggregator)
    )
    for form in forms:
        assert compiled[form]() == interpreted[form](), form
    compiled_s = interleaved(compiled, ROUNDS)
    interpreted_s = interleaved(interpreted, INTERPRETED_ROUNDS)
    per_line = 1e6 / (BODIES * LINES)
    return [
        [
            form,
            f"{median(compiled_s[form]) * per_line:.2f}",
            f"{median(interpreted_s[form]) * per_line:.1f}",
            f"{median_ratio(compiled_s[form], compiled_s['usual']):.2f}",
        ]
        for form in forms
    ]


def _merge_row() -> list[str]:
    data = []
    for body in corpus_bodies("usual", BODIES):
        aggregator = ingest.Aggregator(ARRIVED_S, HORIZON)
        aggregator.add_body(body)
        data += [codec.pack(rollup) for rollup in aggregator.rollups.values()]
    times = interleaved(
        {
            "compiled": partial(
                merge_batches, compiled_rollup.FastRollup, compiled_decoder.merge_packed, data
            ),
            "interpreted": partial(merge_batches, Rollup, codec.merge_packed, data),
        }
    )
    compiled_us, interpreted_us = (
        median(times[form]) / len(data) * 1e6 for form in ("compiled", "interpreted")
    )
    speedup = median_ratio(times["interpreted"], times["compiled"])
    return [f"{compiled_us:.0f}", f"{interpreted_us:.0f}", f"{speedup:.1f}"]


if __name__ == "__main__":
    main()
