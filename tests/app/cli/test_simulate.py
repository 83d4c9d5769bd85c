"""The command `simulate`: it sends, counts and compares."""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx2
import pytest
import uvicorn

from app.cli import simulate
from app.config import ConfigError, Settings
from app.service.asgi import build_app
from app.storage.memory import MemoryStore
from app.traffic.answer_check import ServiceClient, ServiceUnreachable, compare, expected_totals
from app.traffic.logplex_sender import AcknowledgedBatch
from app.traffic.simulated_lines import RequestFields, SimulatedLine, router_frame
from tests.support.service import private_settings


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


@contextmanager
def serving(**environ: str) -> Iterator[int]:
    """A service over a store in memory; its port. `environ` are settings."""
    with (
        private_settings(**environ) as settings,
        socket.create_server(("127.0.0.1", 0)) as listening,
    ):
        app = build_app(settings, MemoryStore(time.time), time.time)
        config = uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        wait_until(lambda: server.started)
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a service in local mode."""
    with serving() as port:
        yield port


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    simulate.add_arguments(parser)
    return parser.parse_args(words)


def run(port: int, *words: str) -> int:
    return simulate.run(arguments(*words), Settings.from_environ({"PORT": str(port)}))


def test_a_service_that_counts_correctly_gets_a_tick_at_every_number(
    port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(port, "--history", "10m", "--duration", "1s") == 0
    summary = capsys.readouterr().out
    assert "✓ demo: " in summary
    assert "✗" not in summary
    rows = {line[2:28].strip(): line.split()[-3:] for line in summary.splitlines()[2:-3]}
    for name in ("requests", "requests failed", "errors H12", "log lines promised"):
        lines, answer, sign = rows[name]
        assert int(lines.replace(",", "")) > 0
        assert (lines, "✓") == (answer, sign)
    assert f"http://127.0.0.1:{port}/api/v1/apps/demo/query?metric=service_time_ms" in summary
    assert "To remove the data: dynometer apps remove demo\n" in summary


def test_earlier_data_of_the_service_is_subtracted(port: int) -> None:
    assert run(port, "--history", "2m", "--duration", "1s") == 0
    again = ("--again", "--seed", "2")
    assert run(port, "--history", "2m", "--duration", "1s", *again) == 0


def test_a_history_is_not_doubled_unless_asked_for(
    port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(port, "--history", "5m", "--duration", "1s") == 0
    capsys.readouterr()
    assert run(port, "--history", "3m", "--duration", "1s") == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert re.search(r"demo has [\d,]+ requests since .* UTC already", output.err)
    assert run(port, "--history", "3m", "--duration", "1s", "--apps", "other") == 0


def test_an_app_with_a_drain_is_left_alone(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    with httpx2.Client(auth=("shop", "any"), trust_env=False) as client:
        client.post(f"http://127.0.0.1:{port}/drain", content=b"9 <1>1 junk")
    assert run(port, "--duration", "1s", "--apps", "shop") == 1
    assert "shop has a log drain" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "origin"),
    [
        ((), ("simulation", False)),
        (("--alert",), ("simulation", True)),
        (("--unmarked",), ("drain", True)),
    ],
)
def test_a_simulated_app_is_marked(port: int, words: Sequence[str], origin: object) -> None:
    assert run(port, "--duration", "1s", *words) == 0
    answer = httpx2.get(f"http://127.0.0.1:{port}/api/v1/apps", trust_env=False).json()
    [app] = answer["apps"]
    assert (app["origin"], app["notifies"]) == origin


def test_a_drain_counts_from_its_first_line_after_a_simulation(port: int) -> None:
    assert run(port, "--duration", "1s") == 0
    url = f"http://127.0.0.1:{port}"
    headers = {"Logplex-Drain-Token": "d.real"}
    with httpx2.Client(auth=("demo", "any"), headers=headers, trust_env=False) as client:
        client.post(f"{url}/drain", content=b"9 <1>1 junk")
        [app] = client.get(f"{url}/api/v1/apps").json()["apps"]
        ledger = client.get(f"{url}/api/v1/apps/demo/ledger").json()
    assert app["origin"] == "drain"
    assert (sum(ledger["unparsed"].values()), ledger["other_drain"]) == (1, 0)


def test_many_apps_get_a_line_each(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(port, "--apps", "10", "--dynos", "1", "--duration", "1s") == 0
    summary = capsys.readouterr().out
    assert summary.count("✓ ") == 10
    assert "✓ demo-10: " in summary


def test_apps_can_be_named_and_a_url_with_credentials_names_one(
    port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    to = f"http://my-app:any@127.0.0.1:{port}"
    assert simulate.run(arguments("--to", to, "--duration", "1s"), Settings.from_environ({})) == 0
    assert run(port, "--apps", "x", "y", "--duration", "1s") == 0
    summary = capsys.readouterr().out
    assert all(f"✓ {name}: " in summary for name in ("my-app", "x", "y"))


def test_ctrl_c_ends_the_traffic_and_the_summary_follows(
    port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        with httpx2.Client(trust_env=False) as client:
            url = f"http://127.0.0.1:{port}/api/v1/apps"
            wait_until(lambda: client.get(url).json()["apps"] != [])
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    assert run(port, "--duration", "forever") == 130
    interrupting.join()
    assert "✓ demo: " in capsys.readouterr().out


def test_a_service_that_is_not_running_is_one_line_with_the_remedy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert run(port) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(
        f"dynometer: no service at http://127.0.0.1:{port}. Start it with dynometer serve ("
    )


def test_a_server_that_is_not_dynometer_is_recognized() -> None:
    class Silent(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Silent) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with (
            ServiceClient(f"http://127.0.0.1:{server.server_port}") as service,
            pytest.raises(ServiceUnreachable, match="answered 501 and is not Dynometer"),
        ):
            service.totals("shop", 0, 60)
        thread.join()


def test_a_missing_admin_token_is_reported_with_its_setting() -> None:
    token = {"DYNOMETER_ADMIN_TOKEN": "0123456789abcdef"}
    with serving(**token) as port, pytest.raises(ConfigError, match="DYNOMETER_ADMIN_TOKEN"):
        run(port)


def test_lines_with_a_wrong_drain_secret_are_rejected_and_the_run_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulate, "SETTLED_WITHIN_S", 0.5)  # the answers never become right
    token = {"DYNOMETER_ADMIN_TOKEN": "0123456789abcdef"}
    with serving(**token) as port:
        settings = Settings.from_environ({**token, "PORT": str(port)})
        assert simulate.run(arguments("--duration", "1s"), settings) == 1
    summary = capsys.readouterr().out
    assert "✗ demo: " in summary
    assert "rejected" in summary
    assert "answered 401" in summary


@pytest.mark.parametrize(
    "words",
    [
        ["--duration", "0s"],
        ["--duration", "soon"],
        ["--history", "25h"],
        ["--rate", "0"],
        ["--rate", "nan"],
        ["--dynos", "none"],
    ],
)
def test_an_invalid_argument_is_rejected_with_the_accepted_values(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        arguments(*words)
    assert "expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--apps", "0"], ["--apps", "No Name"], ["--to", "ftp://x"], ["--apps", "1001"]]
)
def test_an_invalid_app_or_address_is_a_config_error(words: list[str]) -> None:
    with pytest.raises(ConfigError):
        run(1, *words)


def test_forever_has_no_end() -> None:
    assert arguments("--duration", "forever").duration == float("inf")


def test_totals_count_what_each_line_means() -> None:
    lines = [
        SimulatedLine(0, b"", 200),
        SimulatedLine(0, b"", 503, "H12"),
        SimulatedLine(0, b"", 0, "H24"),
        SimulatedLine(0, b"", 499, "H27"),
        SimulatedLine(0, b"", None, "R14"),
        SimulatedLine(0, b""),
    ]
    assert expected_totals(AcknowledgedBatch(lines, 5)) == {
        "requests": 4,
        "requests ok": 2,
        "requests failed": 2,
        "errors H12": 1,
        "errors H24": 1,
        "errors H27": 1,
        "errors R14": 1,
        "errors L10": 1,
        "log lines": 7,
        "log lines promised": 7,
        "log lines lost upstream": 5,
    }


def test_a_difference_in_any_number_shows() -> None:
    acknowledged_totals = Counter({"requests": 2, "errors H12": 1})
    rows = compare(
        acknowledged_totals, Counter({"requests": 10}), Counter({"requests": 12, "errors R14": 1})
    )
    assert [(row.name, row.sent_count, row.answer_count, row.agrees) for row in rows] == [
        ("requests", 2, 2, True),
        ("errors H12", 1, 0, False),
        ("errors R14", 0, 1, False),
        ("log lines", 0, 0, True),
    ]


def test_a_drain_that_accepts_nothing_makes_the_run_fail(port: int) -> None:
    (stream,) = simulate._streams(
        arguments("--duration", "1s"), Settings.from_environ({"PORT": str(port)})
    )
    assert not stream.is_right
    summary = "\n".join(simulate._summary([stream], 0.0))
    assert "nothing was acknowledged: nothing was sent. Raise --duration or --rate." in summary

    counts = stream.sender.counts
    counts.offered_messages = counts.abandoned_messages = 5
    counts.last_problem = "the connection was refused"
    assert not stream.is_right
    summary = "\n".join(simulate._summary([stream], 0.0))
    assert "nothing was acknowledged: the connection was refused. Check " in summary


def test_a_wrong_answer_makes_the_run_fail(
    port: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service counts a request that the simulation did not send."""
    monkeypatch.setattr(simulate, "SETTLED_WITHIN_S", 0.5)  # the answers never become right
    url = f"http://127.0.0.1:{port}"
    tail = "dyno=web.1 connect=1ms service=1ms status=200 bytes=1"
    hop = RequestFields("GET", "/", "shop.example.com", "id", "192.0.2.1")

    def disturb() -> None:
        with httpx2.Client(auth=("demo", "any"), trust_env=False) as client:
            wait_until(lambda: client.get(f"{url}/api/v1/apps").json()["apps"] != [])
            now_s = time.time()
            frame = router_frame(now_s, hop, "at=info", tail, legacy=True, agent=False)
            client.post(f"{url}/drain", content=frame)

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    assert run(port, "--duration", "3s") == 1
    disturbing.join()
    assert "✗ +1" in capsys.readouterr().out
