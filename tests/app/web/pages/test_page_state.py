"""The settings of an app's page, to its URL and back."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from app.web.pages.page_state import PageState, parse_state

CHOSEN = {
    "range": "6h",
    "start": "2026-11-22T10:00:00+01:00",
    "end": "now-1h",
    "process_type": "web",
    "dyno": "web.*",
    "outcome": "failed",
    "compare": "week",
    "scale": "log",
    "split": "dynos",
    "dynos": "table",
    "sort": "memory",
    "order": "reverse",
}


def test_a_state_survives_its_url() -> None:
    state = parse_state(CHOSEN)
    assert state._asdict() == CHOSEN
    address = urlsplit(state.url("shop"))
    assert address.path == "/apps/shop"
    assert parse_state(dict(parse_qsl(address.query))) == state


def test_defaults_are_not_in_the_url() -> None:
    assert PageState().url("shop") == "/apps/shop"
    assert PageState().url("shop", sort="memory") == "/apps/shop?sort=memory"
    assert parse_state(CHOSEN).url("shop", **PageState()._asdict()) == "/apps/shop"


def test_a_form_keeps_the_parameters_that_it_does_not_ask_for() -> None:
    assert parse_state(CHOSEN).hidden_fields("start", "end", "process_type", "dyno", "outcome") == {
        "range": "6h",
        "compare": "week",
        "scale": "log",
        "split": "dynos",
        "dynos": "table",
        "sort": "memory",
        "order": "reverse",
    }


def test_a_second_click_on_a_column_reverses_its_order() -> None:
    assert PageState().sort_url("shop", "load", "name") == "/apps/shop?sort=load"
    sorted_by_load = PageState(sort="load")
    assert sorted_by_load.sort_url("shop", "load", "load") == ("/apps/shop?sort=load&order=reverse")
    assert PageState(sort="load", order="reverse").sort_url("shop", "load", "load") == (
        "/apps/shop?sort=load"
    )


@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.parametrize("value", ["", "nonsense!", '"}', "<b>", "x" * 200, "é"])
def test_invalid_values_are_ignored(name: str, value: str) -> None:
    assert parse_state({name: value}) == PageState()
