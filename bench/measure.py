"""CPU time of this process, in rounds in which candidates alternate: robust on busy machines."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

ROUNDS = 15


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of this process that the work takes."""
    started_s = time.process_time()
    work()
    return time.process_time() - started_s


def interleaved(
    candidates: Mapping[str, Callable[[], object]], rounds: int = ROUNDS
) -> dict[str, list[float]]:
    """CPU seconds of each candidate in each round; the first round warms up and is not counted."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, work in candidates.items():
            gc.collect()
            took_s = cpu_s(work)
            if number:
                times[name].append(took_s)
    return times


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return median(
        numerator / denominator
        for numerator, denominator in zip(numerators, denominators, strict=True)
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
