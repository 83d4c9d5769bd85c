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
        ("Detach LOGDNA (@ref:logdna-deep-31633)", "addon", "detach LOGDNA"),
        ("Update DATABASE2_URL" + BY, "addon", "update DATABASE2_URL"),
        (
            "@ref:redis-round-1 completed provisioning, setting REDIS_URL." + BY,
            "addon",
            "provisioned redis-round-1",
        ),
        (
            "@ref:searchbox-tapered-1 completed provisioning",
            "addon",
            "provisioned searchbox-tapered-1",
        ),
        ("Deployed web (2ef8bad7ccfa)" + BY, "deploy", "web 2ef8bad7ccfa"),
        (
            "Deployed 2fa_worker (eacd9b960537), Web-2 (2ef8bad7ccfa)" + BY,
            "deploy",
            "2fa_worker eacd9b960537, Web-2 2ef8bad7ccfa",
        ),
        ("Running release v3 commands" + BY, "release", "v3 running"),
        ("Release v3 command failed" + BY, "release", "v3 failed"),
        ("Stack changed from heroku-22 to heroku-24" + BY, "stack", "from heroku-22 to heroku-24"),
        (
            "Set DATABASE_URL, okta.oauth2.client-id config vars" + BY,
            "config",
            "set DATABASE_URL, okta.oauth2.client-id",
        ),
        (
            "Remove process.env.GOOGLE_PROJECT_ID config vars" + BY,
            "config",
            "remove process.env.GOOGLE_PROJECT_ID",
        ),
        ("Set 2FA_KEY config var" + BY, "config", "set 2FA_KEY"),
        ("Scaled to web@1:Basic Worker@1:Basic" + BY, "scale", "web@1:Basic Worker@1:Basic"),
        (
            "Scaled to -x@0:Standard-1X 2fa_worker@12:Performance-L-RAM" + BY,
            "scale",
            "-x@0:Standard-1X 2fa_worker@12:Performance-L-RAM",
        ),
        ("Scaled to web@0", "scale", "web@0"),
    ],
)
def test_a_line_becomes_its_event(text: str, kind: str, detail: str) -> None:
    assert parse(text.encode() + b"\n") == Event(kind, "", detail)


@pytest.mark.parametrize(
    "text",
    [
        "Starting process with command `rake secret:print[hunter2]`" + BY,
        "Running release of a hound" + BY,
        "Deployed by hand" + BY,
        "Deployed jane@example.com (2ef8bad7ccfa)",
        "Attach jane@example.com",
        "Stack changed from one to another to a third" + BY,
        "@ref:jane@example.com completed provisioning",
        "source=DATABASE addon=postgresql-round-1 sample#memory-total=100kB",
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


@pytest.mark.parametrize(
    ("text", "kind", "detail"),
    [
        ("Scale to web=2, my-worker=1 by jane@example.com", "scale", "web@2 my-worker@1"),
        ("Config add PATH by jane@example.com", "config", "set PATH"),
        ("Config remove PATH, LANG by jane@example.com", "config", "remove PATH, LANG"),
        ("Add-on add logging:basic by jane@example.com", "addon", "add logging:basic"),
        ("Add-on update shared-database", "addon", "update shared-database"),
        ("Release v2 created by jane@example.com", "release", "v2"),
        ("Slug compilation started", "build", "started"),
        ("Slug compilation finished", "build", "succeeded"),
        ("Slug compilation failed: no Procfile", "build", "failed"),
    ],
)
def test_lines_of_older_logs_become_events(text: str, kind: str, detail: str) -> None:
    assert parse(text.encode() + b"\n") == Event(kind, "", detail)


def test_a_long_formation_lists_web_and_counts_what_it_does_not_list() -> None:
    workers = [f"{'worker' * 5}_{number}@1:Standard-1X" for number in range(30)]
    event = parse(f"Scaled to {' '.join(workers)} web@3:Basic{BY}".encode())
    assert event is not None
    sizes, _, rest = event.detail.partition(" and ")
    listed = sizes.split()
    assert listed == ["web@3:Basic", *workers[: len(listed) - 1]]
    assert rest == f"{31 - len(listed)} more"
    assert len(listed) > 1


def test_a_process_type_has_up_to_128_characters_and_none_is_cut() -> None:
    longest = f"{'w' * 128}@99999:Performance-L-RAM"
    assert parse(f"Scaled to {longest}{BY}".encode()) == Event("scale", "", longest)
    assert parse(f"Scaled to {longest} {longest} {longest}{BY}".encode()) == Event(
        "scale", "", f"{longest} and 2 more"
    )
    assert parse(f"Scaled to w{longest}{BY}".encode()) is None


@given(
    st.sampled_from(
        [
            *("Build ", "Deploy ", "Deployed ", "Release v", "Running release v", "Rollback to v"),
            *("Scaled to ", "Scale to ", "Set ", "Config add ", "Attach ", "Add-on add ", "@ref:"),
            "Stack changed from ",
        ]
    ),
    st.text(max_size=400),
)
def test_an_event_is_short_and_names_no_user_for_any_text(start: str, rest: str) -> None:
    event = parse((start + rest + " jane@example.com").encode("utf-8", "surrogatepass"))
    if event is not None:
        assert event.kind in APP_EVENTS <= EVENTS.keys()
        assert len(event.detail) <= DETAIL_LENGTH_MAX
        assert "example" not in event.detail
        assert event.detail.isascii()
