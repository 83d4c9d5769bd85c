"""Changes to an app are read from app[api], without users and free text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.api_events import DETAIL_LENGTH_MAX, parse
from parsers.samples import APP_EVENTS, EVENTS, Event

BY = " by user jane@example.com"


@pytest.mark.parametrize(
    ("text", "kind", "detail"),
    [
        ("Build started" + BY, "build", "started"),
        ("Build succeeded", "build", "succeeded"),
        ("Build failed -- check your build output: https://example.com/x", "build", "failed"),
        ("Deploy edab5218" + BY, "deploy", "edab5218"),
        ("Release v212 created" + BY, "release", "v212"),
        ("Rollback to v211" + BY, "rollback", "v211"),
        ("Scaled to web@1:Free" + BY, "scale", "web@1:Free"),
        (
            "Scaled to web@4:Standard-1X my_worker@0:Basic" + BY,
            "scale",
            "web@4:Standard-1X my_worker@0:Basic",
        ),
        (
            "Set LANG, RACK_ENV, RAILS_ENV config vars" + BY,
            "config",
            "set LANG, RACK_ENV, RAILS_ENV",
        ),
        ("Remove SECRET_KEY config vars" + BY, "config", "remove SECRET_KEY"),
        ("Attach DATABASE (@ref:postgresql-flexible-35202)" + BY, "addon", "attach DATABASE"),
    ],
)
def test_a_line_becomes_its_event(text: str, kind: str, detail: str) -> None:
    assert parse(text.encode() + b"\n") == Event(kind, "", detail)


@pytest.mark.parametrize(
    "text",
    [
        "Starting process with command `rake secret:print[hunter2]`" + BY,
        "Running release v5 commands" + BY,
        "Enable Logplex" + BY,
        "Release of a hound",
        "Deploy jane@example.com",
        "Scaled to jane@example.com",
        "Set jane@example.com config vars",
        "",
    ],
)
def test_other_lines_are_not_events(text: str) -> None:
    assert parse(text.encode()) is None


def test_a_long_list_is_cut_to_its_first_names_and_a_count_of_the_rest() -> None:
    names = ", ".join(f"NAME_{number}" for number in range(30))
    event = parse(f"Set {names} config vars{BY}".encode())
    assert event is not None
    assert event.detail.startswith("set NAME_0, NAME_1, ")
    assert event.detail.endswith("NAME_9 and 20 more")


@given(
    st.sampled_from(["Build ", "Deploy ", "Release v", "Rollback to v", "Scaled to ", "Set "]),
    st.text(max_size=400),
)
def test_an_event_is_short_and_names_no_user_for_any_text(start: str, rest: str) -> None:
    event = parse((start + rest + " jane@example.com").encode("utf-8", "surrogatepass"))
    if event is not None:
        assert event.kind in APP_EVENTS <= EVENTS.keys()
        assert len(event.detail) <= DETAIL_LENGTH_MAX
        assert "example" not in event.detail
        assert event.detail.isascii()
