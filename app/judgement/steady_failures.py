"""Detects failures that are few and steady, where traffic is too thin to prove a share of them.

A proof that the share is above the limit takes many requests. Steady failures show otherwise: bad
minutes come far more often than the usual share explains, in both halves of a time, and the share
itself is above the limit. Minutes are counted instead of requests, because failures come in
clusters: one bad minute is one sign, however many requests fail in it.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from math import sqrt

from app.judgement.binomial import is_count_above
from app.judgement.facts import Usual
from app.judgement.onset import Tally
from app.judgement.tallies import ShareTotal

SPANS_S = (1200, 1800, 3600)
BAD_INTERVALS_MIN = 3
SHARE_MIN = 0.02
USUAL_FACTOR = 3
SHARE_MAX = 0.5  # however many fail as a rule, most of them are too many
LENGTH_MAX_S = 60  # minutes are counted; longer intervals hold enough requests anyhow

_HALF_ALPHA = 0.05
_STEADY_ALPHA = 1e-4
_CAUTION = 1.5  # the usual share is an estimate, and varies
_BASE_MIN = 0.003
BLOCK_S = 300  # the highest usual share is one of so long


def least_share(usual: Usual, process_type: str) -> float:
    """A smaller share of failed requests than this is never a finding."""
    share = max(SHARE_MIN, USUAL_FACTOR * usual.failed_share.get(process_type, 0.0))
    return min(share, SHARE_MAX)


def find_steady_failures(
    tallies: Sequence[Tally], excused_s: Set[int], usual: Usual, process_type: str
) -> ShareTotal | None:
    """The shortest span with steady failures, and its sums; None if there is none."""
    if tallies[-1].length_s > LENGTH_MAX_S:
        return None
    share = usual.failed_share.get(process_type, 0.0)
    highest = max(usual.failed_share_max.get(process_type, 0.0), share)
    base = max(_CAUTION * share, _BASE_MIN)
    end_s = tallies[-1].start_s + tallies[-1].length_s
    for span_s in SPANS_S:
        span = [
            tally
            for tally in tallies
            if tally.start_s >= end_s - span_s and tally.start_s not in excused_s
        ]
        total = sum(tally.total for tally in span)
        bad = sum(tally.bad for tally in span)
        # The highest share of 5 minutes is not one of half an hour, where bursts average out.
        burst = share + (highest - share) * sqrt(BLOCK_S / span_s)
        if bad <= max(least_share(usual, process_type), burst) * total:
            continue
        if _is_steady(span, base, end_s - span_s // 2):
            bad_time_s = sum(tally.length_s for tally in span if tally.bad)
            return ShareTotal(span_s, total, bad, bad_time_s)
    return None


def _is_steady(span: Sequence[Tally], base: float, middle_s: int) -> bool:
    """Whether bad intervals are too many to be chance, in all and in each half."""
    first = _count_bad([tally for tally in span if tally.start_s < middle_s], base)
    second = _count_bad([tally for tally in span if tally.start_s >= middle_s], base)
    count, mean = first[0] + second[0], first[1] + second[1]
    return (
        count >= BAD_INTERVALS_MIN
        and is_count_above(count, mean, _STEADY_ALPHA)
        and is_count_above(*first, _HALF_ALPHA)
        and is_count_above(*second, _HALF_ALPHA)
    )


def _count_bad(span: Sequence[Tally], base: float) -> tuple[int, float]:
    """The number of bad intervals, and how many there would be with the share `base`."""
    mean = sum(1 - (1 - base) ** tally.total for tally in span)
    return sum(tally.bad > 0 for tally in span), mean
