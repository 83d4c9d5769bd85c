"""Finds times of which too few lines are known to judge an app.

Lost lines are taken for a sample at random: Heroku drops them by the buffer, whatever they say. So
shares stay right, and a loss is a mere note as long as most lines arrived. If more were lost than
arrived, or lines wait to be counted, the state is unknown, unless the lines that are known decide:
if over half of the requests would have failed even though every lost line was a request that
succeeded.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.judgement.facts import Interval, Usual
from app.judgement.verdict import State
from app.judgement.window import HISTORY_S, Symptom, Window
from app.rollup.resolutions import MINUTE_S

_RECENT_S = 5 * MINUTE_S
_FAILED_MIN = 3
_DECISIVE_SHARE = 0.5
_LOSS_CODES = ("L10", "L12", "L13")


def detect_incomplete(window: Window, usual: Usual) -> list[Symptom]:
    """Find lines that are lost or wait, and whether they could change the judgement."""
    recent = window.over(_RECENT_S)
    losses = sum(interval.lost for interval in recent)
    is_delayed = not window.last.is_complete
    if not losses and not is_delayed:
        return []
    messages = sum(interval.messages for interval in recent)
    is_thin = is_delayed or losses > messages
    state: State = "unknown" if is_thin and not _is_decided(recent, losses) else "ok"
    run = _run(window.over(HISTORY_S))
    return [
        Symptom(
            "incomplete",
            state,
            run[0].start_s,
            since_min_s=run[0].start_s,
            since_max_s=run[0].end_s,
            code=_code(recent),
            metric="lines_lost",
            value=losses / (losses + messages) if losses else None,
            count=sum(interval.lost for interval in run),
            reason="delayed" if is_delayed else "",
        )
    ]


def _is_decided(intervals: Sequence[Interval], losses: int) -> bool:
    facts = [facts for interval in intervals for facts in interval.types.values()]
    failures = sum(one.failed for one in facts)
    requests = sum(one.requests for one in facts) + losses
    return failures >= _FAILED_MIN and failures > _DECISIVE_SHARE * requests


def _run(intervals: Sequence[Interval]) -> Sequence[Interval]:
    """The latest intervals, from the first with a loss on: no two losses far apart."""
    first = len(intervals) - 1
    for position in range(len(intervals) - 1, -1, -1):
        interval = intervals[position]
        if intervals[first].start_s - interval.end_s > _RECENT_S:
            break
        if interval.lost or not interval.is_complete:
            first = position
    return intervals[first:]


def _code(intervals: Sequence[Interval]) -> str:
    counts = {
        code: sum(
            count
            for interval in intervals
            for (_, name), count in interval.codes.items()
            if name == code
        )
        for code in _LOSS_CODES
    }
    code = max(_LOSS_CODES, key=lambda code: counts[code])
    return code if counts[code] else ""
