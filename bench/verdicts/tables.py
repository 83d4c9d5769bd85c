"""Tables of what was measured: false alarms, detection, naming, and thin traffic."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import NamedTuple

from bench.measure import table
from bench.verdicts.scoring import FalseAlarm, HealthyScore, IncidentScore

SILENT_OR_DOWN = frozenset({"down", "silent", "unknown", "unreadable"})
THIN_HORIZON_S = 30 * 60  # from the onset: an incident of thin traffic must be found until then
STRONG_WITHIN_S, MILD_WITHIN_S = 120, 300
SLOW_FACTOR_MIN = 1.8  # times the usual p95: what is less is all right
CONFIDENCE = 0.95
VERDICT_TABLES = (
    "verdicts_healthy", "verdicts_incidents", "verdicts_dynos", "verdicts_after",
    "verdicts_thin_failing", "verdicts_thin_slow", "verdicts_cost",
)  # fmt: skip


class Table(NamedTuple):
    """A table of results, and the name that it is saved under."""

    name: str
    title: str
    rows: list[dict[str, object]]


def poisson_bound(count: int, confidence: float = CONFIDENCE) -> float:
    """The upper bound of a Poisson mean of which `count` were seen (exact; Garwood, 1936)."""
    low, high = float(count), count + 20 + 10 * math.sqrt(count)
    for _ in range(60):
        middle = (low + high) / 2
        if poisson_below(count, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def poisson_below(count: int, mean: float) -> float:
    """The probability of at most `count`."""
    logs = (step * math.log(mean) - mean - math.lgamma(step + 1) for step in range(count + 1))
    return sum(map(math.exp, logs))


def false_alarms(scores: Sequence[HealthyScore]) -> Table:
    """False alarms by kind of app, and in all."""
    groups: dict[str, list[HealthyScore]] = defaultdict(list)
    for score in scores:
        groups[score.group].append(score)
    rows = [_alarm_row(group, members) for group, members in groups.items()]
    return Table("verdicts_healthy", "False alarms (episodes)", [*rows, _alarm_row("all", scores)])


def _alarm_row(name: str, scores: Sequence[HealthyScore]) -> dict[str, object]:
    hours = sum(score.hours for score in scores)
    alarms = [alarm for score in scores for alarm in score.alarms]
    grave = sum(alarm.state in SILENT_OR_DOWN for alarm in alarms)
    degraded = len(alarms) - grave
    return {
        "apps": name,
        "hours": round(hours),
        "deploys": sum(score.deploys for score in scores),
        "down, silent": grave,
        "degraded": degraded,
        "down, silent per 10,000 h": _per(grave, hours, 10_000),
        "degraded per 1,000 h": _per(degraded, hours, 1_000),
    }


def _per(count: int, hours: float, unit: int) -> str:
    if not hours:
        return "-"
    return f"{count / hours * unit:.2f} (≤ {poisson_bound(count) / hours * unit:.2f})"


def detection(scores: Sequence[IncidentScore]) -> Table:
    """How soon incidents are found, and how well they are told."""
    rows = []
    for group in ("strong", "mild", "one dyno", "others"):
        members = [score for score in scores if score.group == group]
        scenarios = sorted({score.scenario for score in members})
        for scenario in scenarios:
            matching = [score for score in members if score.scenario == scenario]
            rows.append(_detection_row(f"{group}: {scenario}", matching))
        if members and group != "others":
            rows.append(_detection_row(f"{group}: all", members))
    return Table("verdicts_incidents", "Incidents", rows)


def _detection_row(name: str, scores: Sequence[IncidentScore]) -> dict[str, object]:
    told = [score for score in scores if score.delay_s is not None]
    delays = [score.delay_s for score in told if score.delay_s is not None]
    closed = [score for score in told if score.end_error_s is not None]
    return {
        "incidents": name,
        "number": len(scores),
        "within 2 min": percent(sum(delay <= STRONG_WITHIN_S for delay in delays), len(scores)),
        "within 5 min": percent(sum(delay <= MILD_WITHIN_S for delay in delays), len(scores)),
        "ever": percent(len(told), len(scores)),
        "median delay, s": median(delays) if delays else "-",
        "state right": _share(told, lambda score: score.is_state_right),
        "onset within 1 min": _share(told, lambda score: abs(score.onset_error_s or 0) <= 60),
        "interval covers onset": _share(told, lambda score: score.is_covered),
        "after right": _share(told, lambda score: score.after in ("right", "none")),
        "end within 1 min": _share(closed, lambda score: abs(score.end_error_s or 0) <= 60),
        "closed": percent(len(closed), len(told)),
        "one episode": _share(closed, lambda score: score.episodes == 1),
    }


def naming(scores: Sequence[IncidentScore]) -> Table:
    """Whether dynos are named right."""
    rows = []
    groups = {
        "one bad dyno": [score for score in scores if score.group == "one dyno"],
        "all alike (strong, mild)": [
            score for score in scores if score.group in ("strong", "mild")
        ],
    }
    for name, members in groups.items():
        told = [score for score in members if score.delay_s is not None]
        counts = Counter(score.naming for score in told)
        named = counts["right"] + counts["wrong"]
        rows.append(
            {
                "incidents": name,
                "found": len(told),
                "right": counts["right"],
                "wrong": counts["wrong"],
                "not sure": counts["unsure"],
                "not named": counts["none"],
                "right of the named": percent(counts["right"], named),
            }
        )
    return Table("verdicts_dynos", "Dynos named", rows)


def changes(scores: Sequence[IncidentScore]) -> Table:
    """Whether the change before an incident is named right."""
    members = [
        score for score in scores if score.group in ("strong", "mild") and score.delay_s is not None
    ]
    counts = Counter(score.after for score in members)
    row: dict[str, object] = {
        "found": len(members),
        "right change": counts["right"],
        "rightly none": counts["none"],
        "missed": counts["missed"],
        "wrong": counts["wrong"],
        "right in all": percent(counts["right"] + counts["none"], len(members)),
    }
    return Table("verdicts_after", "The change before", [row])


def thin_traffic(scores: Sequence[IncidentScore], group: str) -> Table:
    """The share found within THIN_HORIZON_S, and the oracle's, by rate and size."""
    cells: dict[tuple[float, float], list[IncidentScore]] = defaultdict(list)
    for score in scores:
        if score.group == group:
            cells[score.cell].append(score)
    sizes = sorted({size for _, size in cells})
    rows = []
    for rate in sorted({rate for rate, _ in cells}):
        row: dict[str, object] = {"requests a minute": f"{rate:g}"}
        for size in sizes:
            name = f"{size:.0%} fail" if group == "thin, failing" else f"p95 × {size:g}"
            members = cells[rate, size]
            own = sum(_in_time(score.delay_s) for score in members)
            best = sum(_in_time(score.oracle_delay_s) for score in members)
            row[name] = f"{percent(own, len(members))} of {percent(best, len(members))}"
        rows.append(row)
    name = group.replace(", ", "_")
    return Table(f"verdicts_{name}", f"Found within 30 minutes, and by the oracle: {group}", rows)


def power_ratio(scores: Sequence[IncidentScore]) -> str:
    """The share of what the oracle finds in time, over all cells of thin traffic.

    Without the cells whose p95 stays below the limit: there, no finding is right.
    """
    members = [
        score
        for score in scores
        if score.group == "thin, failing"
        or (score.group == "thin, slow" and score.cell[1] >= SLOW_FACTOR_MIN)
    ]
    own = sum(_in_time(score.delay_s) for score in members)
    best = sum(_in_time(score.oracle_delay_s) for score in members)
    return f"{own} of the oracle's {best} ({percent(own, best)})"


def worst_alarms(scores: Sequence[HealthyScore], count: int) -> str:
    """The longest false alarms with the minutes before them."""
    alarms = [alarm for score in scores for alarm in score.alarms]
    alarms.sort(key=lambda alarm: (alarm.state not in SILENT_OR_DOWN, -alarm.minutes))
    return "\n\n".join(_describe_alarm(alarm) for alarm in alarms[:count])


def alarm_causes(scores: Sequence[HealthyScore]) -> Table:
    """False alarms by kind of app and kind of finding."""
    counts = Counter(
        (alarm.group, alarm.kind, alarm.state, alarm.finding.code or alarm.finding.metric)
        for score in scores
        for alarm in score.alarms
    )
    rows: list[dict[str, object]] = [
        {"apps": group, "finding": kind, "state": state, "what": subject, "episodes": count}
        for (group, kind, state, subject), count in counts.most_common()
    ]
    return Table("verdicts_causes", "What the false alarms say", rows)


def format_table(rows: Iterable[dict[str, object]]) -> str:
    """A markdown table of rows that have the same columns."""
    rows = list(rows)
    if not rows:
        return "(none)"
    return table(list(rows[0]), [[str(cell) for cell in row.values()] for row in rows])


def percent(count: int, total: int) -> str:
    """A share in percent."""
    return f"{100 * count / total:.1f}%" if total else "-"


def _share(scores: Sequence[IncidentScore], is_right: Callable[[IncidentScore], bool]) -> str:
    return percent(sum(map(is_right, scores)), len(scores))


def _in_time(delay_s: int | None) -> bool:
    return delay_s is not None and delay_s + 60 <= THIN_HORIZON_S


def _describe_alarm(alarm: FalseAlarm) -> str:
    finding = alarm.finding
    head = (
        f"{alarm.history} ({alarm.group}): {alarm.state} {finding.kind}"
        f" {finding.code or finding.metric} value {finding.value} usual {finding.usual}"
        f" limit {finding.limit} since {finding.since_s}, {alarm.minutes} minutes"
    )
    return "\n".join([head, *(f"    {line}" for line in alarm.context)])
