"""What is usual: shares of failed requests and of minutes with lines, without incidents."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from app.judgement.facts import Interval, TypeFacts
from app.judgement.verdict import Finding
from app.rollup.resolutions import DAY_S, HOUR_S
from app.verdicts.past_hours import SETTLING_S, PastHours

T0 = 1_795_338_000 // HOUR_S * HOUR_S
SETTLED_MINUTES = SETTLING_S // 60


def minute(number: int, requests: int = 60, failed: int = 0, messages: int = 1) -> Interval:
    types = {"web": TypeFacts(requests, failed)} if requests else {}
    return Interval(T0 + 60 * number, messages=messages, types=types)


def learn(
    past: PastHours, intervals: Sequence[Interval], findings: Sequence[Finding] = ()
) -> PastHours:
    """Show intervals, and then so many empty ones that they count."""
    for interval in intervals:
        past.add(interval, findings)
    end = (intervals[-1].end_s - T0) // 60
    for number in range(SETTLED_MINUTES + 1):
        past.add(minute(end + number, requests=0, messages=0), findings)
    return past


def test_the_highest_share_of_five_minutes_is_kept_beside_the_mean() -> None:
    burst = [minute(number, failed=12 if number in (10, 11) else 0) for number in range(60)]

    means, highest = learn(PastHours(), burst).failed_shares(T0 + 2 * HOUR_S)

    assert means["web"] == pytest.approx(24 / 3600)
    assert highest["web"] == pytest.approx(24 / 300)


def test_a_few_requests_are_no_share() -> None:
    thin = [minute(number, requests=1, failed=number % 2) for number in range(30)]

    means, highest = learn(PastHours(), thin).failed_shares(T0 + HOUR_S)

    assert (means["web"], highest["web"]) == (0.5, 0.0)


def test_an_incident_never_becomes_usual_even_if_it_is_found_later_than_it_began() -> None:
    past = PastHours()
    for number in range(40):
        past.add(minute(number, failed=30 if number >= 20 else 0), ())
    found = Finding("failing", "degraded", T0 + 20 * 60, process_type="web")
    learn(past, [minute(40)], [found])

    means, highest = past.failed_shares(T0 + 2 * HOUR_S)

    assert (means["web"], highest["web"]) == (0.0, 0.0)


def test_requests_of_an_app_that_is_scaled_to_zero_are_not_usual() -> None:
    asleep = Finding("asleep", "idle", T0, until_s=T0 + HOUR_S, reason="scaled")
    past = learn(PastHours(), [minute(number, failed=6) for number in range(60)], [asleep])

    assert past.failed_shares(T0 + 2 * HOUR_S) == ({}, {})


def test_shares_older_than_a_day_are_forgotten() -> None:
    past = learn(PastHours(), [minute(number, failed=6) for number in range(60)])

    assert past.failed_shares(T0 + 2 * DAY_S) == ({}, {})


def test_the_share_of_minutes_heard_is_the_lowest_of_past_days() -> None:
    past = PastHours()
    for day, every in ((0, 2), (1, 4)):
        first = day * 24 * 60
        learn(
            past,
            [minute(first + number, messages=number % every == 0) for number in range(120)],
        )

    assert past.heard_share(T0 + 2 * DAY_S + HOUR_S + 60) == pytest.approx(0.25)
    assert past.heard_share(T0 + DAY_S + HOUR_S + 60) == pytest.approx(0.5)
    assert past.heard_share(T0) is None


def test_an_hour_with_silence_says_nothing_about_what_is_usual() -> None:
    silent = Finding("silent", "silent", T0 + 30 * 60, until_s=T0 + 60 * 60)
    heard = [minute(number, messages=number < 30) for number in range(60)]

    assert learn(PastHours(), heard, [silent]).heard_share(T0 + DAY_S + 60) is None


def test_the_stored_form_goes_on_where_it_was() -> None:
    intervals = [minute(number, failed=number % 3) for number in range(90)]
    whole = learn(PastHours(), intervals)
    half = learn(PastHours(), intervals[:50])

    resumed = PastHours.unpack(half.pack())
    again = PastHours.unpack(whole.pack())

    assert again.failed_shares(T0 + 2 * HOUR_S) == whole.failed_shares(T0 + 2 * HOUR_S)
    before = resumed.failed_shares(T0 + 2 * HOUR_S)
    learn(resumed, intervals[:20])  # minutes that are known change nothing
    assert resumed.failed_shares(T0 + 2 * HOUR_S) == before
