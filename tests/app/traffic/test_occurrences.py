"""When errors and events occurred."""

from __future__ import annotations

from random import Random

from app.traffic.occurrences import DETAILS_MAX, MINUTES_MAX, Occurrences, Peak


def test_first_last_and_busiest_minute_do_not_depend_on_the_order() -> None:
    times = [600, 61, 62, 119, 7_000, 605]
    for seed in range(5):
        Random(seed).shuffle(times)
        errors = Occurrences()
        for at_s in times:
            errors.add(at_s, 1)
        assert (errors.count, errors.first_s, errors.last_s) == (6, 61, 7_000)
        assert errors.peak == Peak(60, 3)


def test_the_first_of_equally_busy_minutes_is_the_peak() -> None:
    errors = Occurrences()
    for at_s in (300, 120, 180):
        errors.add(at_s, 2)

    assert errors.peak == Peak(120, 2)


def test_years_of_minutes_do_not_fill_the_memory() -> None:
    errors = Occurrences()
    errors.add(0, 9)
    for minute in range(3 * MINUTES_MAX):
        errors.add(60 * minute, 1, f"detail {minute}")

    assert errors.peak == Peak(0, 10)
    assert errors.count == 3 * MINUTES_MAX + 9
    assert len(errors.details) == DETAILS_MAX
