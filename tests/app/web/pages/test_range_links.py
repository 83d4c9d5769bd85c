"""The bar's links to other ranges."""

from __future__ import annotations

from app.web.pages.page_state import PageState
from app.web.pages.range_links import link_ranges

NOW_S = 1_795_341_630.0
HOUR_S = 3600
DAY_S = 86_400
END_S = 1_795_341_660  # of a range that holds the present minute
PAST_S = 1_795_300_000


def test_from_the_present_one_goes_back_or_takes_twice_the_time() -> None:
    links = link_ranges("shop", PageState(compare="week"), END_S - HOUR_S, END_S, NOW_S, 90 * DAY_S)
    begin = END_S - 2 * HOUR_S
    assert links.earlier == f"/apps/shop?start={begin}&end={END_S - HOUR_S}&compare=week"
    assert links.later == ""
    assert links.longer == "/apps/shop?start=now-2h&compare=week"
    assert links.permalink == f"/apps/shop?start={END_S - HOUR_S}&end={END_S}&compare=week"


def test_from_the_past_one_goes_both_ways() -> None:
    start_s, end_s = PAST_S, PAST_S + 600
    state = PageState(start=str(start_s), end=str(end_s))
    links = link_ranges("shop", state, start_s, end_s, NOW_S, 90 * DAY_S)
    assert links.earlier == f"/apps/shop?start={start_s - 600}&end={start_s}"
    assert links.later == f"/apps/shop?start={end_s}&end={end_s + 600}"
    assert links.longer == f"/apps/shop?start={start_s - 300}&end={end_s + 300}"
    assert (links.first, links.last) == ("2026-11-21T22:26", "2026-11-21T22:36")


def test_going_on_to_the_present_follows_it() -> None:
    links = link_ranges("shop", PageState(), END_S - 2 * HOUR_S, END_S - HOUR_S, NOW_S, 90 * DAY_S)
    assert links.later == "/apps/shop?start=now-1h"


def test_a_chosen_length_stays_though_whole_steps_are_shown() -> None:
    shown_s = 24 * HOUR_S + 600
    links = link_ranges("shop", PageState(range="24h"), END_S - shown_s, END_S, NOW_S, 90 * DAY_S)
    assert links.longer == "/apps/shop?range=24h&start=now-2d"


def test_no_range_is_longer_than_what_is_kept() -> None:
    length_s = 90 * DAY_S
    links = link_ranges("shop", PageState(range="90d"), END_S - length_s, END_S, NOW_S, 90 * DAY_S)
    assert links.longer == ""
