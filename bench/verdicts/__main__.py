"""How well apps are judged, on labelled histories: `python -m bench.verdicts`.

The default seeds are those of the evaluation. Rules are tuned with `--calibration`, whose
histories are others. `--show healthy-12` prints one history minute by minute.
"""

from __future__ import annotations

import argparse
import math
import time

from app.judgement.judge import Judge
from bench.results import save
from bench.verdicts import tables
from bench.verdicts.cost import measure_cost
from bench.verdicts.healthy import DAYS
from bench.verdicts.incidents import THIN_FACTORS, THIN_RATES, THIN_SHARES
from bench.verdicts.run import HEALTHY, Scores, Task, build, judge_all
from bench.verdicts.scoring import describe

HOURS = 30_000
INCIDENTS = 1_000
PER_CELL = 60
GROUPS = ("strong", "mild", "one dyno", "others", "thin, failing", "thin, slow")


def main() -> None:
    """Run the benchmark."""
    arguments = _parse()
    seed = f"{'calibration' if arguments.calibration else 'evaluation'} {arguments.seed}"
    if arguments.show:
        show(seed, arguments.show)
        return
    started_s = time.monotonic()
    scores = judge_all(tasks(seed, arguments), arguments.jobs, arguments.limit)
    print(f"seed {seed!r}, {time.monotonic() - started_s:.0f} s\n")
    results = report(scores)
    for result in results:
        print(f"### {result.title}\n\n{tables.format_table(result.rows)}\n")
    if scores.healthy and arguments.worst:
        print(tables.worst_alarms(scores.healthy, arguments.worst))
    if arguments.missed:
        print_missed(scores, arguments.missed)
    if arguments.cost:
        results.append(tables.Table("verdicts_cost", "Cost", measure_cost()))
        print(f"### Cost\n\n{tables.format_table(results[-1].rows)}\n")
    if arguments.keep:
        for result in results:
            save(result.name, result.rows, {"seed": seed})


def tasks(seed: str, arguments: argparse.Namespace) -> list[Task]:
    """What is to be judged: the long healthy histories first."""
    chosen: list[Task] = []
    if not arguments.group or HEALTHY in arguments.group:
        count = -(-arguments.hours // (24 * DAYS))
        chosen += [Task(seed, HEALTHY, number) for number in range(count)]
    counts = {
        "strong": arguments.incidents,
        "mild": arguments.incidents,
        "one dyno": arguments.incidents * 6 // 10,
        "others": arguments.incidents * 4 // 10,
        "thin, failing": arguments.cell * len(THIN_RATES) * len(THIN_SHARES),
        "thin, slow": arguments.cell * len(THIN_RATES) * len(THIN_FACTORS),
    }
    for group, count in counts.items():
        if not arguments.group or group in arguments.group:
            chosen += [Task(seed, group, number) for number in range(count)]
    return chosen


def report(scores: Scores) -> list[tables.Table]:
    """All tables that have something to say."""
    scores.healthy.sort(key=lambda score: score.group)
    results = []
    if scores.healthy:
        results += [tables.false_alarms(scores.healthy), tables.alarm_causes(scores.healthy)]
    if scores.incidents:
        results += [tables.detection(scores.incidents), tables.naming(scores.incidents)]
        results.append(tables.changes(scores.incidents))
        for group in ("thin, failing", "thin, slow"):
            results.append(tables.thin_traffic(scores.incidents, group))
        print(f"thin traffic, found within 30 minutes: {tables.power_ratio(scores.incidents)}\n")
    return results


def print_missed(scores: Scores, count: int) -> None:
    """Incidents that were not found, found late, or told wrong."""
    wrong = [
        score
        for score in scores.incidents
        if not score.group.startswith("thin")
        and (score.delay_s is None or score.delay_s > 300 or score.after in ("wrong", "missed")
             or abs(score.onset_error_s or 0) > 60 or score.naming == "wrong")
    ]  # fmt: skip
    for score in wrong[:count]:
        print(
            f"{score.history} {score.scenario}: delay {score.delay_s} onset {score.onset_error_s:}"
            f" after {score.after} naming {score.naming} end {score.end_error_s} | {score.summary}"
        )


def show(seed: str, name: str) -> None:
    """Print one history minute by minute, and what is said of it."""
    prefix, _, number = name.rpartition("-")
    groups = {group.replace(", ", "-").replace(" ", "-"): group for group in (HEALTHY, *GROUPS)}
    history = build(Task(seed, groups[prefix], int(number)))
    print(history.label)
    judge = Judge(history.profile)
    for interval, usual, is_past in history.steps():
        verdict = judge.advance(interval, usual, is_past=is_past)
        if not is_past:
            print(describe(interval, usual), "->", verdict.state, verdict.summary)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.verdicts", description=__doc__)
    parser.add_argument("--hours", type=int, default=HOURS, help="of healthy apps")
    parser.add_argument("--incidents", type=int, default=INCIDENTS, help="strong ones, mild ones")
    parser.add_argument("--cell", type=int, default=PER_CELL, help="histories per rate and size")
    parser.add_argument("--group", action="append", help=f"{HEALTHY}, {'; '.join(GROUPS)}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calibration", action="store_true", help="the seeds for tuning rules")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=math.inf, help="seconds; then stop")
    parser.add_argument("--worst", type=int, default=0, help="print so many false alarms")
    parser.add_argument("--missed", type=int, default=0, help="print so many that were told wrong")
    parser.add_argument("--show", default="", metavar="NAME", help="print a history")
    parser.add_argument("--cost", action="store_true", help="measure the cost of judging, too")
    parser.add_argument("--keep", action="store_true", help="save the results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
