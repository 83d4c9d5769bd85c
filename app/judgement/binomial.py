"""Exact tests of shares and counts, such as those of failed requests."""

from __future__ import annotations

from math import exp, lgamma, log

ALPHA = 1e-5  # a symptom may come from chance in one of 100,000 trials


def is_share_above(count: int, total: int, limit: float, alpha: float = ALPHA) -> bool:
    """Whether `count` of `total` prove that the true share is above `limit`.

    So it is if the lower bound of Clopper and Pearson ("The use of confidence or fiducial limits",
    Biometrika 26, 1934) at `alpha` is above the limit. That is the same as: with this limit as the
    true share, `count` or more come up with a probability of at most `alpha`. The sum of that tail
    needs no inversion, and ends early.
    """
    if count <= total * limit or not total:
        return False
    if limit <= 0:
        return True
    log_term = (
        lgamma(total + 1)
        - lgamma(count + 1)
        - lgamma(total - count + 1)
        + count * log(limit)
        + ((total - count) * log(1 - limit) if count < total else 0.0)
    )
    log_alpha = log(alpha)
    if log_term > log_alpha:
        return False
    # Each term is the one before it times a ratio, which falls from below 1.
    odds = limit / (1 - limit)
    term = tail = 1.0
    for successes in range(count, total):
        term *= (total - successes) / (successes + 1) * odds
        tail += term
        if term < tail * 1e-9:
            break
    return log_term + log(tail) <= log_alpha


def is_count_above(count: int, mean: float, alpha: float = ALPHA) -> bool:
    """Whether a Poisson count of this mean is `count` or more with a chance of at most `alpha`."""
    if count <= mean:
        return False
    if mean <= 0:
        return True
    term = exp(count * log(mean) - mean - lgamma(count + 1))
    tail = 0.0
    while term > tail * 1e-9:
        tail += term
        count += 1
        term *= mean / count
    return tail <= alpha
