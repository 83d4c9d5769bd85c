"""Lines that tell one story become one event when they are read."""

from __future__ import annotations

from itertools import permutations

import pytest

from app.query.event_stories import original_detail, tell_events
from app.rollup.events import MORE_EVENTS, EventKey
from app.rollup.rollup import Rollup
from parsers import dispatch
from parsers.syslog_header import Message

WEB = (b"heroku", b"web.1")
API = (b"app", b"api")


def events_of(*lines: tuple[float, tuple[bytes, bytes], str]) -> list[tuple[float, str, str, str]]:
    """(seconds, kind, source, detail) of the events that readers see of (seconds, origin, text)."""
    rollup = Rollup()
    for at_s, (app_name, procid), text in lines:
        message = Message(int(at_s * 1000), app_name, procid, text.encode())
        sample = dispatch.parse(message)
        if sample is not None:
            rollup.observe(sample, message.at_ms)
    counts = tell_events(rollup.all_events)
    return [(at_ms / 1000, kind, source, detail) for at_ms, kind, source, detail in sorted(counts)]


def web(*lines: tuple[float, str]) -> list[tuple[float, str, str]]:
    """(seconds, kind, detail) of the events of web.1."""
    return [
        (at_s, kind, detail)
        for at_s, kind, source, detail in events_of(*((at_s, WEB, text) for at_s, text in lines))
        if source == "web.1"
    ]


TERM = "Stopping all processes with SIGTERM"
R12 = "Error R12 (Exit timeout) -> At least one process failed to exit within 30 seconds of SIGTERM"
KILL = "Stopping remaining processes with SIGKILL"
EXIT = "Process exited with status {}".format


def test_a_dyno_that_does_not_heed_sigterm_is_stopped_by_heroku() -> None:
    lines = [(100.0, TERM), (130.0, R12), (130.01, KILL), (130.1, EXIT(137))]
    for order in permutations(lines):
        assert web(*order) == [(100.0, "stop", "SIGTERM, SIGKILL, status 137")]


def test_its_replacement_may_run_already() -> None:
    assert web(
        (100.0, "State changed from up to starting"),
        (100.5, TERM),
        (108.0, "State changed from starting to up"),
        (130.5, KILL),
        (132.6, EXIT(137)),
    ) == [
        (100.0, "restart", "was up"),
        (100.5, "stop", "SIGTERM, SIGKILL, status 137"),
        (108.0, "up", ""),
    ]


@pytest.mark.parametrize("status", [1, 2, 130, 137, 255])
@pytest.mark.parametrize(
    "reason",
    [
        "Cycling",
        "Idling",
        "Idling because quota is exhausted",
        "Relocating dyno to a new server",
        "State changed from up to down",
        "State changed from up to starting",
    ],
)
def test_a_stopped_dyno_did_not_end_by_itself_whatever_its_status(reason: str, status: int) -> None:
    told = web((100.0, reason), (101.0, TERM), (103.0, EXIT(status)))
    assert (101.0, "stop", f"SIGTERM, status {status}") in told
    assert "exit" not in {kind for _, kind, _ in told}
    without_signal = web((100.0, reason), (103.0, EXIT(status)))
    assert (103.0, "stop", f"status {status}") in without_signal


@pytest.mark.parametrize("status", [0, 143])
def test_a_dyno_that_heeds_sigterm_is_stopped(status: int) -> None:
    assert web((100.0, TERM), (103.0, EXIT(status))) == [(100.0, "stop", "SIGTERM")]


def test_a_dyno_that_ends_without_a_signal_ended_by_itself() -> None:
    assert web((100.0, EXIT(137))) == [(100.0, "exit", "137")]
    crash = [(100.0, EXIT(1)), (100.1, "State changed from up to crashed")]
    assert [kind for _, kind, _ in web(*crash)] == ["exit", "crash"]


def test_a_new_process_that_crashes_soon_after_a_stop_ended_by_itself() -> None:
    assert web(
        (100.0, "State changed from up to starting"),
        (100.5, TERM),
        (101.0, EXIT(143)),
        (110.0, EXIT(1)),
        (110.05, "State changed from starting to crashed"),
        (120.0, "State changed from crashed to starting"),
        (125.0, EXIT(1)),
        (125.2, "State changed from starting to crashed"),
    ) == [
        (100.0, "restart", "was up"),
        (100.5, "stop", "SIGTERM"),
        (110.0, "exit", "1"),
        (110.05, "crash", ""),
        (120.0, "restart", "was crashed"),
        (125.0, "exit", "1"),
        (125.2, "crash", ""),
    ]


@pytest.mark.parametrize(
    "error",
    [
        "Error R10 (Boot timeout) -> Web process failed to bind to $PORT within 60 seconds",
        "Error R15 (Memory quota vastly exceeded)",
    ],
)
def test_a_dyno_that_heroku_kills_for_an_error_is_stopped_and_crashed(error: str) -> None:
    assert web(
        (100.0, error),
        (100.01, "Stopping process with SIGKILL"),
        (100.2, EXIT(137)),
        (100.3, "State changed from starting to crashed"),
    ) == [(100.01, "stop", "SIGKILL, status 137"), (100.3, "crash", "")]


def test_a_signal_to_one_dyno_says_nothing_of_another_or_of_later() -> None:
    other = (b"heroku", b"web.2")
    assert events_of((100, WEB, TERM), (101, other, EXIT(1))) == [
        (100, "stop", "web.1", "SIGTERM"),
        (101, "exit", "web.2", "1"),
    ]
    assert web((100, TERM), (200, EXIT(1))) == [(100, "stop", "SIGTERM"), (200, "exit", "1")]


def test_a_second_sigterm_begins_another_stop() -> None:
    assert web((100, TERM), (101, EXIT(143)), (120, TERM), (121, EXIT(1))) == [
        (100, "stop", "SIGTERM"),
        (120, "stop", "SIGTERM, status 1"),
    ]


def test_a_detached_one_off_dyno_is_stopped() -> None:
    run = (b"heroku", b"run.1234")
    hangup = "Client connection closed. Sending SIGHUP to all processes"
    assert events_of((100, run, hangup), (100.5, run, EXIT(129))) == [
        (100, "stop", "run", "SIGHUP, status 129")
    ]


@pytest.mark.parametrize("process_type", ["run", "scheduler", "release"])
@pytest.mark.parametrize("status", [1, 127, 130, 137])
def test_a_one_off_dyno_that_fails_after_another_was_stopped_is_an_exit(
    process_type: str, status: int
) -> None:
    first = (b"heroku", f"{process_type}.100".encode())
    second = (b"heroku", f"{process_type}.200".encode())
    assert events_of((100, first, TERM), (102, first, EXIT(143)), (118, second, EXIT(status))) == [
        (100, "stop", process_type, "SIGTERM"),
        (118, "exit", process_type, str(status)),
    ]


def test_a_one_off_dyno_that_fails_after_another_hung_up_is_an_exit() -> None:
    hangup = "Client connection closed. Sending SIGHUP to all processes"
    first, second = (b"heroku", b"run.1"), (b"heroku", b"run.2")
    assert events_of((100, first, hangup), (140, second, EXIT(127))) == [
        (100, "stop", "run", "SIGHUP"),
        (140, "exit", "run", "127"),
    ]


def test_a_one_off_dyno_that_heroku_kills_is_stopped() -> None:
    first, second = (b"heroku", b"run.1"), (b"heroku", b"run.2")
    assert events_of(
        (100, first, TERM), (120, second, EXIT(1)), (130, first, KILL), (130.1, first, EXIT(137))
    ) == [(100, "stop", "run", "SIGTERM, SIGKILL, status 137"), (120, "exit", "run", "1")]


RESTART = "State changed from up to starting"
UP = "State changed from starting to up"


@pytest.mark.parametrize("begin", [[], [(99.5, RESTART)], [(98, "Cycling"), (99, RESTART)]])
@pytest.mark.parametrize(
    "turn",
    [
        [(110, UP)],
        [(110, RESTART)],
        [(110, "State changed from down to starting")],
        [(104, RESTART), (110, UP)],
        [(109, EXIT(2)), (109.1, "State changed from starting to crashed")],
    ],
)
def test_a_stop_is_over_when_another_process_runs(
    begin: list[tuple[float, str]], turn: list[tuple[float, str]]
) -> None:
    told = web(*begin, (100, TERM), (102, EXIT(143)), *turn, (130, EXIT(1)))
    assert (100, "stop", "SIGTERM") in told
    assert (130, "exit", "1") in told


def test_a_stop_has_one_exit() -> None:
    assert web((100, RESTART), (100.5, TERM), (103, EXIT(1)), (110, EXIT(2))) == [
        (100, "restart", "was up"),
        (100.5, "stop", "SIGTERM, status 1"),
        (110, "exit", "2"),
    ]
    assert web((100, TERM), (110, EXIT(1)), (130, KILL), (130.1, EXIT(137))) == [
        (100, "stop", "SIGTERM, SIGKILL, status 137"),
        (110, "exit", "1"),
    ]


def test_a_restart_that_is_logged_after_its_signal_does_not_close_the_stop() -> None:
    assert web((100, TERM), (101, RESTART), (103, EXIT(1))) == [
        (100, "stop", "SIGTERM, status 1"),
        (101, "restart", "was up"),
    ]


def test_without_signals_a_dyno_that_is_up_again_ended_by_itself() -> None:
    assert web((100, RESTART), (108, UP), (130, EXIT(1)))[-1] == (130, "exit", "1")
    asleep = "State changed from down to starting"
    assert web((100, asleep), (110, EXIT(1)))[-1] == (110, "exit", "1")


@pytest.mark.parametrize("code", ["R10", "R12", "R15"])
@pytest.mark.parametrize("source", [b"web.1", b"run.7"])
def test_without_lines_about_signals_an_error_tells_that_heroku_killed_a_dyno(
    source: bytes, code: str
) -> None:
    origin = (b"heroku", source)
    name = source.decode().replace("run.7", "run")
    lines = [(100, origin, f"Error {code} (Some timeout)"), (100.2, origin, EXIT(137))]
    for order in permutations(lines):
        assert events_of(*order) == [(100, "stop", name, f"{code}, status 137")]
    assert events_of(lines[0]) == []
    assert events_of(lines[0], (130, origin, EXIT(1))) == [(130, "exit", name, "1")]


@pytest.mark.parametrize("code", ["R13", "R14", "R16", "R99"])
def test_other_errors_kill_no_dyno(code: str) -> None:
    assert web((100, f"Error {code} (x)"), (100.2, EXIT(137))) == [(100.2, "exit", "137")]


def test_a_dyno_comes_up_and_goes_down() -> None:
    assert web(
        (100, "State changed from starting to up"),
        (200, "State changed from up to down"),
        (300, "State changed from starting to down"),
    ) == [(100, "up", ""), (200, "down", ""), (300, "down", "")]


# --- releases -----------------------------------------------------------------------------------

DEPLOY = "Deploy edab5218 by user u"
RUNNING = "Running release v3 commands by user u"
FAILED = "Release v3 command failed by user u"


def test_a_deploy_says_that_its_release_failed() -> None:
    lines = [(100, API, DEPLOY), (100, API, RUNNING), (5000, API, FAILED)]
    for order in permutations(lines):
        assert events_of(*order) == [
            (100, "deploy", "", "edab5218 (release v3 failed)"),
            (5000, "release", "", "v3 failed"),
        ]


def test_another_change_says_so_too() -> None:
    told = events_of(
        (90, API, DEPLOY),
        (100, API, "Set A config vars by user u"),
        (100, API, RUNNING),
        (110, API, FAILED),
    )
    assert told == [
        (90, "deploy", "", "edab5218"),
        (100, "config", "", "set A (release v3 failed)"),
        (110, "release", "", "v3 failed"),
    ]


def test_without_the_line_about_its_beginning_the_last_deploy_failed() -> None:
    told = events_of((0, API, "Deploy aaaa"), (90, API, DEPLOY), (110, API, FAILED))
    assert [detail for *_, detail in told] == [
        "aaaa",
        "edab5218 (release v3 failed)",
        "v3 failed",
    ]
    assert events_of((0, API, DEPLOY), (9000, API, FAILED))[0][3] == "edab5218"


def test_a_release_command_that_succeeds_leaves_the_release() -> None:
    told = events_of((100, API, DEPLOY), (100, API, RUNNING), (110, API, "Release v3 created by u"))
    assert told == [(100, "deploy", "", "edab5218"), (110, "release", "", "v3")]


def test_a_release_command_may_still_run() -> None:
    assert events_of((100, API, RUNNING)) == [(100, "release", "", "v3 running")]


def test_only_a_created_release_is_the_last_one() -> None:
    rollup = Rollup()
    for at_s, text in ((100, "Release v2 created by u"), (110, RUNNING), (120, FAILED)):
        sample = dispatch.parse(Message(at_s * 1000, *API, text.encode()))
        assert sample is not None
        rollup.observe(sample, at_s * 1000)
    assert rollup.last_release == (100_000, "v2")


def test_the_original_detail_of_an_event_does_not_depend_on_others() -> None:
    (told,) = (
        event
        for event in tell_events(
            {
                EventKey(0, "deploy", "", "edab5218"): 1,
                EventKey(9, "release", "", "v3 failed"): 1,
            }
        )
        if event.kind == "deploy"
    )
    assert told.detail == "edab5218 (release v3 failed)"
    assert original_detail(told) == "edab5218"


def test_counts_are_kept() -> None:
    counts = {
        MORE_EVENTS: 7,
        EventKey(100_000, "stop", "run", "SIGKILL"): 2,
        EventKey(100_500, "exit", "run", "137"): 2,
        EventKey(100_600, "exit", "run", "1"): 2,
        EventKey(200_000, "crash", "web.1", ""): 3,
    }
    assert tell_events(counts) == {
        MORE_EVENTS: 7,
        EventKey(100_000, "stop", "run", "SIGKILL, status 137"): 2,
        EventKey(100_600, "exit", "run", "1"): 2,
        EventKey(200_000, "crash", "web.1", ""): 3,
    }
