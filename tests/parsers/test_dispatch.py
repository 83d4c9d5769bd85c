"""The origin of a message decides its kind, never its text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers import dispatch
from parsers.samples import (
    AddonSamples,
    Event,
    HerokuError,
    Measurements,
    ParseError,
    ProcessExit,
    Request,
    RuntimeMetrics,
    Sample,
    StateChange,
    labels_of,
    source_of,
)
from parsers.syslog_header import Message, parse_message
from tests.support.lines import load, lost, memory, message, router_text


def read(text: str, *, app_name: str = "heroku", procid: str = "web.1") -> Sample | None:
    return dispatch.parse(parse_message(message(text, app_name=app_name, procid=procid)))


def read_frame(frame: bytes) -> Sample | None:
    return dispatch.parse(parse_message(frame.partition(b" ")[2]))


def test_the_platforms_lines_become_samples() -> None:
    assert isinstance(read(router_text(), procid="router"), Request)
    assert isinstance(read_frame(memory()), RuntimeMetrics)
    assert isinstance(read_frame(load()), RuntimeMetrics)
    assert read("Error R14 (Memory quota exceeded)") == HerokuError("web.1", "R14", 0)
    assert read("State changed from starting to up") == StateChange("web.1", "starting", "up")


@pytest.mark.parametrize(
    "text",
    [
        router_text(),
        "source=web.1 dyno=heroku.1.0f sample#memory_total=1.00MB",
        "Error R14 (Memory quota exceeded)",
        "Error L10 (output buffer overflow): 9 messages dropped since 2026-11-22T09:00:00+00:00.",
        "State changed from up to crashed",
        message(router_text(), procid="router").decode(),
    ],
)
def test_an_app_may_print_anything(text: str) -> None:
    for procid in ("web.1", "router", "logplex", "api"):
        assert read(text, app_name="app", procid=procid) is None
    for procid in ("heroku-postgres", "heroku-redis", "heroku-pgbouncer"):
        assert isinstance(read(text, app_name="app", procid=procid), AddonSamples | None)


@pytest.mark.parametrize(
    "text",
    [
        "Starting process with command `npm start`",
        "Stopping to smell the flowers",
        "Relocating the furniture",
        "Restarting",
        "Process exited",
        "Idling for a reason",
        "",
    ],
)
def test_lines_without_a_metric_give_no_sample(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    "junk", ["", "\n", "      ern-fina", "   x", '"', "'", "\\n", ".", ",", "]", "\x1b[0m", "\x00"]
)
def test_states_and_exits_are_read_whatever_follows_them(junk: str) -> None:
    crash = StateChange("web.1", "starting", "crashed")
    assert read("State changed from starting to crashed" + junk) == crash
    assert read("Process exited with status 1" + junk) == ProcessExit("web.1", 1)


@pytest.mark.parametrize(
    "text",
    [
        "State changed from starting to crashed1",
        "State changed from starting to crashed-1",
        "State changed from starting to crashed\xff",
        "State changed from starting to ",
        "State changed from starting",
        "State changed from ",
        "State changed from Up to down",
        "Process exited with status ",
        "Process exited with status x",
        "Process exited with status -1",
        "Process exited with status 1x",
        "Process exited with status 1.5",
        "Process exited with status 256",
        "Process exited with status 1370",
    ],
)
def test_damaged_states_and_exits_are_errors(text: str) -> None:
    with pytest.raises(ParseError) as error:
        read(text)
    assert error.value.reason == "lifecycle"


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        ("Stopping all processes with SIGTERM", "SIGTERM"),
        ("Stopping remaining processes with SIGKILL", "SIGKILL"),
        ("Stopping process with SIGTERM", "SIGTERM"),
        ("Stopping process with SIGKILL\n", "SIGKILL"),
        ("Client connection closed. Sending SIGHUP to all processes", "SIGHUP"),
    ],
)
def test_signals_with_which_heroku_stops_a_dyno(text: str, signal: str) -> None:
    assert read(text) == Event("stop", "web.1", signal)


@pytest.mark.parametrize(
    ("text", "kind", "detail"),
    [
        ("Cycling", "cycle", ""),
        ("Relocating dyno to a new server", "cycle", "to a new server"),
        ("Idling\n", "idle", ""),
        ("Idling because quota is exhausted", "idle", "quota exhausted"),
        ("Unidling", "unidle", ""),
    ],
)
def test_phrases_about_a_dyno(text: str, kind: str, detail: str) -> None:
    assert read(text) == Event(kind, "web.1", detail)


@pytest.mark.parametrize(
    ("text", "memory", "ratio"),
    [
        ("Process running mem=870M(170.1%)", 87_000, 1_701_000),
        ("Process running mem=1028MB(103.3%)\n", 102_800, 1_033_000),
        ("Process running mem=2G(100%)", 204_800, 1_000_000),
    ],
)
def test_memory_that_is_reported_while_it_is_high(text: str, memory: int, ratio: int) -> None:
    assert read(text) == Measurements(
        "web.1", (("memory_running_bytes", memory), ("memory_running_ratio", ratio))
    )


@pytest.mark.parametrize("rest", ["870M", "870(170.1%)", "M(1%)", "870M(%)", "1e3M(1%)", ""])
def test_an_unreadable_memory_line_is_an_error(rest: str) -> None:
    with pytest.raises(ParseError) as error:
        read(f"Process running mem={rest}")
    assert error.value.reason == "runtime"


@pytest.mark.parametrize(
    ("app_name", "procid"),
    [("app", "api"), ("app", "heroku-postgres"), ("heroku", "api")],
)
def test_origins_of_changes_to_an_app(app_name: str, procid: str) -> None:
    text = "Update DATABASE by user jane@example.com"
    assert read(text, app_name=app_name, procid=procid) == Event("addon", "", "update DATABASE")


def test_the_slug_compiler_of_older_logs_builds() -> None:
    for procid in ("slugc", "slug-compiler"):
        assert read("Slug compilation started", procid=procid) == Event("build", "", "started")


def test_structured_data_may_stand_before_a_message() -> None:
    for prefix in ("- ", '[meta seq="1"] ', ""):
        sample = read(prefix + router_text(), procid="router")
        assert isinstance(sample, Request)
        assert sample.status == 200


def test_l10_in_a_drain_gives_the_number_of_lost_messages() -> None:
    assert read_frame(lost(302_626)) == HerokuError("", "L10", 302_626)


@pytest.mark.parametrize(
    ("text", "code", "messages"),
    [
        ("Error L12: 222 messages dropped since 2026-11-22T09:31:32.125756+00:00.", "L12", 222),
        ("Error L12: 1 message dropped since 2026-11-22T09:31:32.125756+00:00", "L12", 1),
        ("Error L13: 111 messages lost since 2026-11-22T09:31:32.125756+00:00.", "L13", 111),
        ("Error L13 (local delivery error): 7 messages lost since 2026-11-22T09:31:32Z", "L13", 7),
        ("Error L12: some messages dropped since 2026-11-22T09:31:32Z", "L12", 0),
    ],
)
def test_l12_and_l13_give_the_number_of_lost_messages(text: str, code: str, messages: int) -> None:
    sample = read(text, app_name="app", procid="log-shuttle")
    assert sample == HerokuError("", code, messages)


def test_l11_is_about_a_tail_session_and_loses_nothing_in_a_drain() -> None:
    text = "Error L11 (Tail buffer overflow) -> This tail session dropped 1101 messages since x"
    assert read(text, procid="logplex") == HerokuError("", "L11", 0)


def test_r13_counts_when_heroku_writes_it_for_a_one_off_dyno() -> None:
    text = "Error R13 (Attach error) -> Failed to attach to process"
    assert read(text, procid="run.9695") == HerokuError("run", "R13", 0)
    assert read(text, app_name="app", procid="run.9695") is None


def test_l10_as_heroku_logs_prints_it_may_be_about_another_drain() -> None:
    text = (
        "Error L10 (output buffer overflow): drain 'd.0f0f' dropped 5 messages since "
        "2026-11-22T09:00:00.1+00:00."
    )
    assert read(text, procid="logplex") == HerokuError("", "L10", 0)


@pytest.mark.parametrize(
    ("text", "procid", "app_name", "code"),
    [
        ("L11 (Tail buffer overflow) -> This tail session dropped 1", "logplex", "heroku", "L11"),
        ('Error L14 (certificate validation): error="bad"', "logplex", "heroku", "L14"),
        ("Error L15 (Tail buffer temporarily unavailable)", "logplex", "heroku", "L15"),
    ],
)
def test_codes_of_the_log_stream(text: str, procid: str, app_name: str, code: str) -> None:
    assert read(text, procid=procid, app_name=app_name) == HerokuError("", code, 0)


@pytest.mark.parametrize("code", ["R10", "R12", "R14", "R15", "R16", "R17", "R99", "R151"])
def test_codes_of_dynos(code: str) -> None:
    assert read(f"Error {code} (Something) -> said", procid="worker.12") == HerokuError(
        "worker.12", code, 0
    )


def test_one_off_dynos_share_a_source_per_type() -> None:
    for name in ("run", "scheduler", "release"):
        assert source_of(f"{name}.1234".encode()) == source_of(f"{name}.77".encode()) == name
        assert labels_of(name) == (name, name)


@pytest.mark.parametrize(
    ("source", "labels"),
    [
        ("web.1", ("web", "web.1")),
        ("my_imports-worker.12", ("my_imports-worker", "my_imports-worker.12")),
        ("2fa_worker.1", ("2fa_worker", "2fa_worker.1")),
        ("web.", ("web", "")),
        ("", ("", "")),
    ],
)
def test_process_type_and_dyno_follow_from_a_source(source: str, labels: tuple[str, str]) -> None:
    assert labels_of(source) == labels


@pytest.mark.parametrize("process_type", ["Worker", "2fa_worker", "-x", "_", "7", "w" * 128])
def test_process_types_of_the_platform_api_are_read(process_type: str) -> None:
    assert source_of(f"{process_type}.12".encode()) == f"{process_type}.12"


@pytest.mark.parametrize("name", ["w" * 129 + ".1", "web.", ".1", "web.1.2", "we b.1", "wéb.1"])
def test_other_names_are_not_those_of_dynos(name: str) -> None:
    with pytest.raises(ParseError):
        source_of(name.encode())


def test_a_procid_that_is_not_a_dyno_is_an_error_only_in_a_line_that_needs_it() -> None:
    assert read("Starting process with command `x`", procid="???") is None
    with pytest.raises(ParseError) as error:
        read("Error R14 (Memory quota exceeded)", procid="???")
    assert error.value.reason == "dyno"


@given(
    st.sampled_from([b"heroku", b"app"]),
    st.sampled_from([b"router", b"logplex", b"web.1", b"log-shuttle", b"\xff"]),
    st.binary(max_size=120),
)
def test_arbitrary_texts_raise_nothing_but_parse_errors(
    app_name: bytes, procid: bytes, text: bytes
) -> None:
    for beginning in (b"", b"Error ", b"State changed ", b"source=", b"["):
        try:
            dispatch.parse(Message(0, app_name, procid, beginning + text))
        except ParseError as error:
            assert error.reason
