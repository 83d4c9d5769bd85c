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
    "scale": "linear",
    "sort": "memory",
}


def test_what_is_chosen_comes_back_from_its_address() -> None:
    state = parse_state(CHOSEN)
    assert state._asdict() == CHOSEN
    address = urlsplit(state.url("shop"))
    assert address.path == "/apps/shop"
    assert parse_state(dict(parse_qsl(address.query))) == state


def test_what_is_not_chosen_is_not_in_the_address() -> None:
    assert PageState().url("shop") == "/apps/shop"
    assert PageState().url("shop", sort="memory") == "/apps/shop?sort=memory"
    assert parse_state(CHOSEN).url("shop", **PageState()._asdict()) == "/apps/shop"


def test_a_form_keeps_what_it_does_not_ask_for() -> None:
    assert parse_state(CHOSEN).hidden_fields("start", "end", "process_type", "dyno", "outcome") == {
        "range": "6h",
        "compare": "week",
        "scale": "linear",
        "sort": "memory",
    }


@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.parametrize("value", ["", "nonsense!", '"}', "<b>", "x" * 100, "é"])
def test_what_cannot_be_used_is_as_if_it_were_not_there(name: str, value: str) -> None:
    assert parse_state({name: value}) == PageState()
