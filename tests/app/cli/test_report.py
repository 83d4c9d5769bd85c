"""The command `report`: figures of known lines, as JSON and as a table."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.cli.report import WIDTH
from tests.support.forked_command import ROOT
from tests.support.logtext import (
    AT_S,
    dynometer,
    framed,
    load_text,
    memory_text,
    router_text,
    text_line,
)

REQUESTS = [
    *(router_text(at=AT_S + second, dyno="web.1", service="10ms") for second in range(60)),
    *(router_text(at=AT_S + 60 + second, dyno="web.2", service="30ms") for second in range(39)),
    router_text(at=AT_S + 120, dyno="web.2", service="30000ms", status=503, code="H12"),
]
READINGS = [
    memory_text(at=AT_S + 5, dyno="web.1", total="256.00"),
    memory_text(at=AT_S + 25, dyno="web.1", total="384.00"),
    load_text(at=AT_S + 25, dyno="web.1", load_1m="0.50"),
    load_text(at=AT_S + 45, dyno="web.1", load_1m="1.50"),
    text_line("heroku[worker.1]", "Error R14 (Memory quota exceeded)", at=AT_S + 30),
]
OTHERS = [
    text_line("app[web.1]", "sample#memory_total=1.00MB said the app", at=AT_S + 3),
    text_line("heroku[router]", "at=info method=GET nothing else", at=AT_S + 4),
    "not a log line at all\n",
]
LOG = "".join(REQUESTS + READINGS + OTHERS).encode()


def report_of(log: bytes, *options: str) -> dict[str, Any]:
    result = dynometer("report", "-", "--json", *options, stdin=log)
    assert (result.returncode, result.stderr) == (0, b"")
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def table_of(log: bytes, *options: str) -> list[str]:
    result = dynometer("report", "-", *options, stdin=log)
    assert (result.returncode, result.stderr) == (0, b"")
    return result.stdout.decode().splitlines()


def test_requests_in_maintenance_did_not_fail() -> None:
    text = (
        'at=info code=H80 desc="Maintenance mode" method=GET path="/up" dyno= connect=0ms '
        "service=0ms status=503 bytes=596"
    )
    log = LOG + text_line("heroku[router]", text, at=AT_S + 50).encode() * 300
    requests = report_of(log)["requests"]
    assert [requests[name] for name in ("count", "failed", "maintenance")] == [400, 1, 300]
    assert report_of(log)["service_time_ms"] == report_of(LOG)["service_time_ms"]
    assert any(line.endswith("; in maintenance 300") for line in table_of(log))


def test_json_has_every_figure_of_known_lines() -> None:
    report = report_of(LOG, "--app", "shop")

    assert report["app"] == "shop"
    assert (report["start"], report["end"]) == ("2026-11-22T10:00:00Z", "2026-11-22T10:02:00Z")
    assert report["requests"] == {
        "count": 100,
        "per_minute": 49.5,
        "complete_minutes": 2,
        "failed": 1,
        "failed_ratio": 0.01,
        "maintenance": 0,
        "by_status": {"200": 99, "503": 1},
    }
    times = report["service_time_ms"]["all"]
    assert tuple(times[name] for name in ("count", "p50", "p95", "p99")) == (100, 10, 30, 30)
    assert (times["max"], times["avg"]) == (30_000, 317.7)
    assert {"web": times} == report["service_time_ms"]["by_process_type"]
    errors = {error["code"]: error["count"] for error in report["heroku_errors"]}
    assert errors == {"H12": 1, "R14": 1}
    assert report["forms"] == ["heroku logs"]
    assert report["runtime_metrics"] is True
    assert report["ledger"] == {
        "received": 108,
        "counted": 105,
        "ignored": 1,
        "unparsed": {"header": 1, "router": 1},
        "lost_upstream": 0,
    }


def test_json_has_one_row_per_dyno() -> None:
    dynos = {dyno["dyno"]: dyno for dyno in report_of(LOG)["dynos"]}

    assert list(dynos) == ["web.1", "web.2", "worker.1"]
    web = dynos["web.1"]
    assert (web["requests"], web["errors"], web["process_type"]) == (60, 0, "web")
    assert web["service_time_ms"] == {"avg": 10, "max": 10}
    assert web["memory_total_bytes"] == {"avg": 320 * 2**20, "max": 384 * 2**20}
    assert web["memory_quota_used_ratio"] == {"avg": 0.625, "max": 0.75}
    assert web["load_avg_1m"] == {"avg": 1.0, "max": 1.5}
    assert web["last_seen"] == "2026-11-22T10:00:00Z"
    assert tuple(dynos["web.2"][name] for name in ("requests", "errors", "last_seen")) == (
        40,
        1,
        "2026-11-22T10:02:00Z",
    )
    assert dynos["worker.1"]["memory_total_bytes"] == {"avg": None, "max": None}
    assert dynos["worker.1"]["errors"] == 1


def test_a_drain_body_gives_the_same_figures_as_text() -> None:
    text = [router_text(at=AT_S + second) for second in range(3)]
    frames = [
        f"<158>1 {line.split(' ', 1)[0]} host heroku router - {line.split(': ', 1)[1]}"
        for line in text
    ]

    of_text, of_body = report_of("".join(text).encode()), report_of(framed(*frames))
    assert (of_text.pop("forms"), of_body.pop("forms")) == (["heroku logs"], ["drain bodies"])
    assert of_text == of_body


def test_lines_of_any_age_are_reported() -> None:
    years = 50 * 365 * 86_400
    log = router_text(at=AT_S - years) + router_text(at=AT_S)

    report = report_of(log.encode())

    assert report["requests"]["count"] == 2
    assert report["ledger"]["counted"] == 2


def test_lines_may_come_in_any_order() -> None:
    lines = [router_text(at=AT_S + 60 * minute) for minute in (2, 0, 1)]

    assert report_of("".join(lines).encode()) == report_of("".join(sorted(lines)).encode())


def test_many_minutes_add_up() -> None:
    minutes = 2_500
    log = "".join(router_text(at=AT_S + 60 * minute) for minute in range(minutes))

    report = report_of(log.encode())

    assert minutes == report["requests"]["count"]
    assert report["start"] == "2026-11-22T10:00:00Z"
    assert "2026-11-24T03:39:00Z" == report["end"] == report["dynos"][0]["last_seen"]


def test_process_types_have_rows_of_their_own_when_there_are_several() -> None:
    log = router_text(dyno="web.1", service="10ms") + router_text(dyno="admin.1", service="20ms")

    assert list(report_of(log.encode())["service_time_ms"]["by_process_type"]) == ["admin", "web"]
    rows = [line.split()[:2] for line in table_of(log.encode())]
    assert [row for row in rows if row and row[0] in ("all", "admin", "web")] == [
        ["all", "2"],
        ["admin", "1"],
        ["web", "1"],
    ]


def test_requests_that_no_dyno_answered_are_listed() -> None:
    log = router_text(dyno="", service="", status=503, code="H14")

    [row] = report_of(log.encode())["dynos"]

    assert tuple(row[name] for name in ("dyno", "process_type", "requests", "errors")) == (
        "",
        "web",
        1,
        1,
    )
    assert any(line.startswith("web (no dyno)") for line in table_of(log.encode()))


def test_table_shows_the_figures_within_the_width() -> None:
    lines = table_of(LOG, "--app", "shop")

    assert lines[0] == "shop: 2026-11-22 10:00:00 to 2026-11-22 10:02:00 UTC"
    assert "Requests  100, 49.5 a minute over 2 min; failed 1 (1.00%)" in lines
    assert "Statuses  200: 99   503: 1" in lines
    assert any(line.split() == ["H12", "1", "Request", "timeout"] for line in lines)
    dyno = next(line.split() for line in lines if line.startswith("web.1"))
    assert ["web.1", *["60", "0", "10", "10", "320", "384", "75%", "1.00", "1.50", "10:00"]] == dyno
    assert "Lines     108 received = 105 counted + 1 ignored + 2 not understood" in lines
    assert max(map(len, lines)) <= WIDTH


def test_table_stays_within_the_width_with_large_figures() -> None:
    log = "".join(
        router_text(at=AT_S + second, dyno=f"background-jobs.{dyno}", service="1234567ms")
        + memory_text(at=AT_S, dyno=f"background-jobs.{dyno}", total="65432.10")
        + load_text(at=AT_S, dyno=f"background-jobs.{dyno}", load_1m="123.45")
        for second in range(20)
        for dyno in (1, 100)
    )

    assert max(map(len, table_of(log.encode()))) <= WIDTH


def test_missing_runtime_metrics_come_with_the_commands_that_enable_them() -> None:
    lines = table_of(router_text().encode(), "--app", "shop")

    assert any(line.startswith("no runtime metrics:") for line in lines)
    assert "  heroku labs:enable log-runtime-metrics -a shop" in lines
    assert "  heroku restart -a shop" in lines
    assert not any("no runtime metrics" in line for line in table_of(LOG))


def test_every_error_code_is_explained_also_an_unknown_one() -> None:
    log = router_text(status=503, code="H12") + router_text(status=503, code="H77")

    titles = {error["code"]: error["title"] for error in report_of(log.encode())["heroku_errors"]}

    assert titles == {"H12": "Request timeout", "H77": "Unknown code"}


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_input_without_a_log_line_is_refused_with_its_first_lines(options: tuple[str, ...]) -> None:
    result = dynometer("report", "-", *options, stdin=b"dear diary\nit rained\nall\nday\n")

    assert (result.returncode, result.stdout) == (1, b"")
    first, *shown, expected = result.stderr.decode().splitlines()
    assert "standard input is not a log of Heroku's: none of its 4 lines could be read" in first
    assert shown == ["  dear diary", "  it rained", "  all"]
    assert expected.startswith("Expected the output of heroku logs -n 1500 -a APP")


def test_empty_input_is_named_as_such() -> None:
    assert table_of(b"") == ["The input is empty: there was no line to report on."]
    assert report_of(b"")["ledger"]["received"] == 0


ERRORS = [
    router_text(at=AT_S + second, status=503, code="H12") for second in (70, 130, 140, 150, 3_600)
]


def test_json_tells_when_errors_happened() -> None:
    [error] = report_of("".join(ERRORS).encode())["heroku_errors"]

    assert (error["first"], error["last"]) == ("2026-11-22T10:01:00Z", "2026-11-22T11:00:00Z")
    assert error["peak"] == {"minute": "2026-11-22T10:02:00Z", "count": 3}


def test_table_tells_when_errors_happened() -> None:
    assert " " * 19 + "10:01 to 11:00, most at 10:02 (3)" in table_of("".join(ERRORS).encode())
    assert " " * 19 + "10:01" in table_of(ERRORS[0].encode())
    days = table_of((ERRORS[0] + router_text(at=AT_S + 86_400, status=503, code="H12")).encode())
    assert " " * 19 + "11-22 10:01 to 11-23 10:00, most at 11-22 10:01 (1)" in days


EVENTS = [
    text_line("app[api]", "Release v12 created by user u@example.com", at=AT_S),
    text_line("app[api]", "Release v13 created by user u@example.com", at=AT_S + 120),
    text_line("heroku[web.1]", "Process exited with status 1", at=AT_S + 130),
    text_line("heroku[web.1]", "State changed from up to crashed", at=AT_S + 131),
    text_line("heroku[web.1]", "State changed from crashed to starting", at=AT_S + 140),
    text_line("heroku[web.1]", "Process exited with status 1", at=AT_S + 200),
]


def test_json_has_crashes_exits_restarts_and_releases() -> None:
    events = {event.pop("kind"): event for event in report_of("".join(EVENTS).encode())["events"]}

    assert list(events) == ["release", "crash", "exit", "restart"]
    assert events["release"] == {
        "count": 2,
        "first": "2026-11-22T10:00:00Z",
        "last": "2026-11-22T10:02:00Z",
        "details": {"v12": 1, "v13": 1},
    }
    assert events["crash"]["details"] == {"web.1": 1}
    assert events["exit"]["details"] == {"web.1 status 1": 2}
    assert events["restart"]["details"] == {"web.1 was crashed": 1}


def test_table_has_crashes_exits_restarts_and_releases() -> None:
    lines = table_of("".join(EVENTS).encode())

    begin = lines.index("Events")
    assert [line.split(maxsplit=2) for line in lines[begin + 1 : begin + 5]] == [
        ["release", "2", "10:00 to 10:02: v12, v13"],
        ["crash", "1", "10:02: web.1"],
        ["exit", "2", "10:02 to 10:03: web.1 status 1 (2 times)"],
        ["restart", "1", "10:02: web.1 was crashed"],
    ]


def test_a_stop_by_heroku_and_a_maintenance_are_told_as_on_the_page() -> None:
    down = 'at=info code=H80 desc="Maintenance mode" method=GET path="/" dyno= status=503 bytes=9'
    log = [
        router_text(at=AT_S),
        text_line("heroku[web.1]", "Stopping all processes with SIGTERM", at=AT_S + 5),
        text_line("heroku[web.1]", "Stopping remaining processes with SIGKILL", at=AT_S + 35),
        text_line("heroku[web.1]", "Process exited with status 137", at=AT_S + 35),
        text_line("heroku[router]", down, at=AT_S + 60),
        text_line("heroku[router]", down, at=AT_S + 120),
        router_text(at=AT_S + 180),
    ]
    events = {row["kind"]: row for row in report_of("".join(log).encode())["events"]}
    assert list(events) == ["maintenance", "stop"]
    assert events["stop"]["details"] == {"web.1 SIGTERM, SIGKILL, status 137": 1}
    assert events["maintenance"]["details"] == {"began": 1, "ended": 1}


def test_a_full_disk_is_one_line_without_a_traceback() -> None:
    command = [sys.executable, "-m", "app.cli", "report", "-"]
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            command, input=LOG, stdout=full, stderr=subprocess.PIPE, cwd=ROOT, check=False
        )
    assert result.returncode == 1
    assert result.stderr.startswith(b"dynometer: cannot write the output: No space left")
    assert result.stderr.count(b"\n") == 1


def test_many_events_of_a_kind_stay_within_the_width() -> None:
    log = "".join(
        text_line(f"heroku[background-jobs.{dyno}]", "Process exited with status 1", at=AT_S)
        for dyno in range(1, 30)
    )

    lines = table_of(log.encode())

    assert any("24 more" in line for line in lines)
    assert max(map(len, lines)) <= WIDTH


def test_long_names_are_shortened_in_events_as_in_the_table_of_dynos() -> None:
    name = f"{'long' * 25}.1"
    log = [
        text_line(f"heroku[{name}]", "State changed from up to crashed", at=AT_S),
        text_line(f"heroku[{name}]", "Process exited with status 1", at=AT_S),
        text_line("app[api]", f"Set {'LONG' * 10} config vars by user ada@example.com", at=AT_S),
    ]

    lines = table_of("".join(log).encode())

    short = "longlongl…glong.1"
    assert f"  crash         1  10:00: {short}" in lines
    assert f"  exit          1  10:00: {short} status 1" in lines
    assert any(line.startswith(f"{short} ") for line in lines)
    assert any("LONG" * 10 in line for line in lines)
    assert max(map(len, lines)) <= WIDTH


@pytest.mark.parametrize(
    ("names", "form"),
    [
        (["one.log"], ["Read as   heroku logs"]),
        (
            ["one.log", "two.log.gz", "three.log"],
            ["Read as   heroku logs (2 files)", "          heroku logs, gzip (1 file)"],
        ),
    ],
)
def test_several_files_are_one_report(tmp_path: Path, names: list[str], form: list[str]) -> None:
    for number, name in enumerate(names):
        data = router_text(at=AT_S + 60 * number).encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)

    result = dynometer("report", *(str(tmp_path / name) for name in names))

    lines = result.stdout.decode().splitlines()
    assert lines[1 : len(form) + 1] == form
    assert any(line.startswith(f"Requests  {len(names)}, ") for line in lines)


def test_only_application_output_gives_a_report_without_requests() -> None:
    lines = table_of(text_line("app[web.1]", "hello").encode())

    assert "No requests: the input has no router lines." in lines


@pytest.mark.parametrize("name", ["shop.log", "-"])
def test_a_file_and_standard_input_give_the_same(tmp_path: Path, name: str) -> None:
    path = tmp_path / "shop.log"
    path.write_bytes(LOG)

    result = dynometer("report", str(path) if name != "-" else "-", stdin=LOG)

    assert "\n".join(table_of(LOG)) == result.stdout.decode().rstrip("\n")
