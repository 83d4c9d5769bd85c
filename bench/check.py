"""Checks for regressions: `python -m bench.check`, in less than 5 minutes.

Each row is a ratio, of which a machine's speed and its other load are hardly a part: CPU time end
to end in relation to the floor, and that of parsing and merging in relation to bench.baseline. The
ratios are compared with those saved for this kind of machine, by CPU, number of CPUs and minor
version of Python. A row that is too high is measured again, and fails only if it is too high every
time, so that noise does not fail the check.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from app.rollup.batch_codec import unpack_batch
from bench import baseline
from bench.bench_compiled import (
    compiled_aggregator,
    compiled_decoder,
    compiled_rollup,
    merge_batches,
    pack_batches,
)
from bench.corpora import CORPORA, WITH_MARKS, corpus_bodies
from bench.environment import environment
from bench.measure import interleaved, median_ratio, table
from bench.results import load, save
from bench.rounds import BUSY_CONNECTIONS, Load, compare, result_row
from bench.target import dynometer, floor

MARGIN = 0.2
TRIES = 3
ROUNDS = 3
POSTS = 2_500
BODIES = 20
END_TO_END = {
    "1 app": Load(POSTS),
    "1 app, 10 lines a POST": Load(POSTS, lines_per_post=10),
    "1 app, in two packets": Load(POSTS, packets=2),
    "1 app, without pause": Load(2 * POSTS, connections=BUSY_CONNECTIONS),
    "20 apps": Load(POSTS, apps=20, connections=20),
    "20 apps, over ASGI": Load(POSTS, apps=20, connections=20, asgi=True),
    "200 apps": Load(POSTS, apps=200, connections=200),
}
MERGING = "merging rollups"
HEAD = ("row", "saved ratio", "ratio now", "relative")

Ratios = dict[str, float]


def main() -> int:
    """Returns 1 if a ratio has become higher, 2 if none is saved for this kind of machine."""
    parser = argparse.ArgumentParser(prog="python -m bench.check", description=__doc__)
    parser.add_argument(
        "--save", action="store_true", help="save the ratios for this kind of machine"
    )
    arguments = parser.parse_args()
    name = f"check_{kind_of_machine(environment())}"
    known_ratios = {row["row"]: row["ratio"] for row in load(name).get("rows", ())}
    if not known_ratios and not arguments.save:
        print(f"bench/results/{name}.json is missing. Save it on a commit that you trust: --save")
        return 2
    ratios = {row: measure() for row, measure in measurements().items()}
    print(format_table(known_ratios, ratios), flush=True)
    if arguments.save:
        rows = [{"row": row, "ratio": round(ratio, 3)} for row, ratio in ratios.items()]
        save(name, rows, {"rounds": ROUNDS})
        return 0
    for number in range(2, TRIES + 1):
        slower_rows = find_slower(known_ratios, ratios)
        if not slower_rows:
            return 0
        ratios = {row: measurements()[row]() for row in slower_rows}
        print(f"\nTry {number}:\n\n{format_table(known_ratios, ratios)}", flush=True)
    for row in find_slower(known_ratios, ratios):
        print(f"{row}: slower than saved by more than {MARGIN:.0%}")
    return 1 if find_slower(known_ratios, ratios) else 0


def kind_of_machine(facts: Mapping[str, object]) -> str:
    """What a baseline holds for, as a part of a file name."""
    minor_version = ".".join(str(facts["python"]).split(".")[:2])
    text = f"{facts['cpus']} {facts['cpu']} python{minor_version}".lower()
    return re.sub(r"[^a-z0-9.]+", "-", text)


def find_slower(known_ratios: Ratios, ratios: Ratios) -> list[str]:
    """The rows whose saved ratio is exceeded by more than MARGIN; new rows are not among them."""
    return [
        row
        for row, ratio in ratios.items()
        if row in known_ratios and ratio > known_ratios[row] * (1 + MARGIN)
    ]


def format_table(known_ratios: Ratios, ratios: Ratios) -> str:
    """The ratios beside the saved ones."""
    cells = []
    for row, ratio in ratios.items():
        known_ratio = known_ratios.get(row)
        comparison = (f"{known_ratio:.2f}", f"{ratio:.2f}") if known_ratio else ("", f"{ratio:.2f}")
        cells.append([row, *comparison, f"{ratio / known_ratio:.2f}" if known_ratio else ""])
    return table(HEAD, cells)


def measurements() -> dict[str, Callable[[], float]]:
    """The function that measures the ratio of each row."""
    return {
        **{f"parsing, {corpus}": partial(parse_ratio, corpus) for corpus in CORPORA},
        MERGING: merge_ratio,
        **{row: partial(end_to_end_ratio, load) for row, load in END_TO_END.items()},
    }


def end_to_end_ratio(load: Load) -> float:
    """CPU time of worker and store in relation to that of the floor."""
    with (
        TemporaryDirectory(prefix="dynometer-") as directory,
        dynometer(Path(directory)) as service,
        floor() as floor_target,
    ):
        costs = compare(load, (floor_target, service), ROUNDS)
    return float(str(result_row(load, costs)["ratio"]))


def parse_ratio(corpus: str) -> float:
    """CPU time of a corpus, from bodies to packed batches, in relation to the baseline."""
    return _ratio_to_baseline(
        partial(
            pack_batches,
            compiled_aggregator.Aggregator,
            corpus_bodies(corpus, BODIES),
            reads_marks=corpus in WITH_MARKS,
        )
    )


def merge_ratio() -> float:
    """CPU time of merging the packed rollups of as many bodies, in relation to the baseline."""
    batches = pack_batches(compiled_aggregator.Aggregator, corpus_bodies("usual", BODIES))
    minutes = [data for batch in batches for _, data in unpack_batch(batch)]
    return _ratio_to_baseline(
        partial(merge_batches, compiled_rollup.FastRollup, compiled_decoder.merge_packed, minutes)
    )


def _ratio_to_baseline(work: Callable[[], object]) -> float:
    bodies = corpus_bodies("usual", BODIES)

    def parse_all() -> None:
        for body in bodies:
            baseline.parse(body, {}, {})

    times = interleaved({"work": work, "baseline": parse_all})
    return median_ratio(times["work"], times["baseline"])


if __name__ == "__main__":
    sys.exit(main())
