"""Simulated apps log like real ones, and the same again for the same seed."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice, pairwise

import pytest

from app.ingest.aggregator import AcceptanceWindow, Aggregator
from app.traffic.simulated_app import SimulatedApp
from app.traffic.simulated_dyno import user_activity
from app.traffic.simulated_lines import (
    ERRORS_BY_CODE,
    ROUTER_ERRORS,
    RequestFields,
    RouterError,
    SimulatedLine,
    app_frames,
    frame,
    l10_frame,
    router_frame,
    timestamp,
)
from parsers import dispatch
from parsers.framing import split
from parsers.samples import HerokuError, Request
from parsers.syslog_header import parse_message

START_S = 1_795_341_600.0  # 2026-11-22T10:00:00Z
FIELDS = RequestFields(
    "GET", "/a%20b", "shop.example.com", "8601b555-6a83-4c12-8269-97c8e32cdb22", "192.0.2.1"
)


def lines_of(seconds: float, *, seed: int = 1, dynos: int = 4) -> list[SimulatedLine]:
    lines = []
    for line in SimulatedApp("shop", dynos=dynos, seed=seed).lines(START_S):
        if line.at_s >= START_S + seconds:
            break
        lines.append(line)
    return lines


@pytest.fixture(scope="module")
def hour() -> list[SimulatedLine]:
    return lines_of(3_600)


def texts(lines: list[SimulatedLine]) -> list[str]:
    return [line.frame.decode(errors="replace") for line in lines]


def test_same_seed_gives_the_same_lines_and_another_seed_others() -> None:
    assert lines_of(60) == lines_of(60)
    assert lines_of(60) != lines_of(60, seed=2)


def test_lines_come_in_the_order_they_are_sent(hour: list[SimulatedLine]) -> None:
    assert all(earlier.at_s <= later.at_s for earlier, later in pairwise(hour))


def test_the_parsers_read_exactly_the_expected_values_of_the_lines(
    hour: list[SimulatedLine],
) -> None:
    """The simulation is an independent check: it shares no code with the parsers."""
    requests = Counter(line.status for line in hour if line.status is not None)
    codes = Counter(line.code for line in hour if line.code)
    aggregator = Aggregator(START_S + 3_600, AcceptanceWindow(86_400, 300))
    aggregator.add_frames(split(b"".join(line.frame for line in hour)))
    found_requests: Counter[int] = Counter()
    found_codes: Counter[str] = Counter()
    for rollup in aggregator.rollups.values():
        for (_, status), count in rollup.requests.items():
            found_requests[status] += count
        for (_, code), count in rollup.errors.items():
            found_codes[code] += count
    assert requests == found_requests
    assert codes == found_codes
    ledger = aggregator.ledger
    assert len(hour) == ledger["received"] == ledger["counted"] + ledger["ignored"]


def test_an_hour_is_about_as_many_lines_as_asked_for(hour: list[SimulatedLine]) -> None:
    assert 0.6 * 20 * 3_600 < len(hour) < 1.5 * 20 * 3_600


def test_both_routers_websockets_and_every_kind_of_dyno_occur(hour: list[SimulatedLine]) -> None:
    log = "".join(texts(hour))
    for piece in (
        "<158>1 ",
        "protocol=http2.0 tls=true tls_version=tls1.3",
        " status=101 ",
        " host heroku web.1 - source=web.1 ",
        " host heroku worker.1 - source=worker.1 ",
        " host heroku scheduler.",
        " host app api - Release v",
        " host app worker.1 - ",
        "東京",
    ):
        assert piece in log, piece


def test_one_dyno_runs_out_of_memory_and_comes_back_as_another(hour: list[SimulatedLine]) -> None:
    of_dyno = [text for text in texts(hour) if " host heroku web.3 - " in text]
    full = next(i for i, text in enumerate(of_dyno) if "Error R14 (Memory quota exceeded)" in text)
    assert "Process running mem=5" in of_dyno[full - 1]
    assert any("State changed from starting to up" in text for text in of_dyno[full:])
    ids = re.findall(r"dyno=heroku\.2808254\.([0-9a-f-]{36})", "".join(of_dyno))
    assert len(set(ids)) > 1


def test_out_of_memory_shows_within_the_first_minute() -> None:
    assert "R14" in {line.code for line in lines_of(60)}


def test_a_single_dyno_is_a_web_dyno() -> None:
    log = "".join(texts(lines_of(60, dynos=1)))
    assert " host heroku web.1 - " in log
    assert "worker" not in log


def test_runtime_metrics_come_every_20_seconds(hour: list[SimulatedLine]) -> None:
    lines = [line for line in hour if b" host heroku worker.1 - source=" in line.frame]
    assert 2 * 160 < len(lines) < 2 * 180


@pytest.mark.parametrize("error", ROUTER_ERRORS, ids=lambda error: error.code)
@pytest.mark.parametrize("legacy", [True, False])
def test_every_router_error_is_read_as_what_it_is(error: RouterError, legacy: bool) -> None:
    tail = error.format_tail("web.2", 1, 30_001, legacy=legacy)
    frame_bytes = router_frame(START_S, FIELDS, error.head, tail, legacy=legacy, agent=error.agent)
    sample = dispatch.parse(parse_message(frame_bytes.partition(b" ")[2]))
    assert isinstance(sample, Request)
    assert (error.code, error.status) == (sample.code, sample.status)
    assert sample.source == ("web.2" if "{dyno}" in error.tail else "web.")
    assert sample.service_ms == (30_001 if "{service}" in error.tail else sample.service_ms)
    if "{dyno}" not in error.tail:
        assert (sample.connect_ms, sample.service_ms) == (None, None)


def test_router_2_logs_0_ms_for_a_request_that_reached_no_dyno() -> None:
    tails = [ERRORS_BY_CODE["H80"].format_tail("", 0, 0, legacy=legacy) for legacy in (True, False)]
    assert tails == [
        "dyno= connect= service= status=503 bytes=",
        "dyno= connect=0ms service=0ms status=503 bytes=596",
    ]


def test_router_2_decodes_the_path_and_the_legacy_router_does_not() -> None:
    tail = "dyno=web.1 connect=0ms service=1ms status=200 bytes=2"
    router_2 = router_frame(START_S, FIELDS, "at=info", tail, legacy=False, agent=False)
    legacy_router = router_frame(START_S, FIELDS, "at=info", tail, legacy=True, agent=False)
    assert b'path="/a b"' in router_2
    assert b'path="/a%20b"' in legacy_router


@pytest.mark.parametrize(
    ("at_s", "text"),
    [
        (START_S, "2026-11-22T10:00:00+00:00"),
        (START_S + 0.5, "2026-11-22T10:00:00.5+00:00"),
        (START_S + 0.000012, "2026-11-22T10:00:00.000012+00:00"),
        (START_S + 0.9999999, "2026-11-22T10:00:01+00:00"),
    ],
)
def test_times_have_no_trailing_zeros(at_s: float, text: str) -> None:
    assert timestamp(at_s) == text


def test_counts_are_of_bytes_and_include_the_newline() -> None:
    frame_bytes = frame(190, START_S, "app", "web.1", "naïve")
    count, _, message = frame_bytes.partition(b" ")
    assert int(count) == len(message)
    assert message.endswith("naïve\n".encode())


def test_a_long_line_is_cut_at_10000_bytes_even_within_a_character() -> None:
    pieces = app_frames(START_S, "web.1", "é" * 12_500 + "!")
    sizes = [len(parse_message(piece.partition(b" ")[2]).text) - 1 for piece in pieces]
    assert sizes == [10_000, 10_000, 5_001]
    assert len({parse_message(piece.partition(b" ")[2]).at_ms for piece in pieces}) == 1


def test_an_empty_line_is_still_a_line() -> None:
    assert len(app_frames(START_S, "web.1", "")) == 1


def test_long_lines_occur(hour: list[SimulatedLine]) -> None:
    assert any(10_000 < len(line.frame) < 10_240 for line in hour)


def test_an_l10_frame_has_no_newline_and_reports_the_lost_messages() -> None:
    frame_bytes = l10_frame(START_S + 60, 21, START_S)
    assert not frame_bytes.endswith(b"\n")
    sample = dispatch.parse(parse_message(frame_bytes.partition(b" ")[2]))
    assert sample == HerokuError("", "L10", 21)


def test_apps_are_busier_in_the_afternoon_and_as_asked_over_a_day() -> None:
    day = [user_activity(minute * 60) for minute in range(24 * 60)]
    assert user_activity(15 * 3_600) > 1.1
    assert user_activity(3 * 3_600) < 0.9
    assert sum(day) / len(day) == pytest.approx(1, abs=0.01)


def test_the_stream_has_no_end_and_survives_a_single_dyno_restarting() -> None:
    app = SimulatedApp("small", dynos=1, lines_per_s=0.5)
    lines = list(islice(app.lines(START_S), 5_000))
    assert "H10" in {line.code for line in lines}
