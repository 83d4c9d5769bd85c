"""Finds dynos that differ from the others of their process type.

A value is an outlier if its modified z-score is over 3.5 (Iglewicz and Hoaglin, "How to Detect and
Handle Outliers", 1993), and if it is also large enough to matter: a multiple of the median.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median

from app.query.stats import Value

PEERS_MIN = 3  # with fewer dynos, nobody can say which of them is the odd one
_Z_SCORE_MAX = 3.5
_MEDIAN_FACTOR = 0.6745  # the 0.75 quantile of the standard normal distribution
_RATIO_MIN = 1.5
_COUNT_MIN = 5  # of errors, say, where most dynos have none


def find_outliers(values: Mapping[str, Value]) -> dict[str, float]:
    """Find the dynos whose value is unusually high, each with its ratio to the median.

    The ratio is infinite if the median is 0.

    values  of the dynos of one process type; None where nothing is known
    """
    numbers = {name: value for name, value in values.items() if value is not None}
    if len(numbers) < PEERS_MIN:
        return {}
    middle = median(numbers.values())
    if middle <= 0:
        return {name: math.inf for name, value in numbers.items() if value >= _COUNT_MIN}
    spread = median(abs(value - middle) for value in numbers.values())
    return {
        name: value / middle
        for name, value in numbers.items()
        if value >= _RATIO_MIN * middle
        and _MEDIAN_FACTOR * (value - middle) > _Z_SCORE_MAX * spread
    }
