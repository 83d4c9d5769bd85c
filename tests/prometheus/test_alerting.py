"""The alert rules and the Alertmanager example work in the real programs."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.traffic.simulated_lines import frame
from tests.support.monitoring import alertmanager, prometheus
from tests.support.processes import ROOT, ServiceProcess
from tests.support.servers import find_program, wait_until
from tests.support.traffic import send

DEPLOY = ROOT / "deploy" / "prometheus"
EXAMPLE = (DEPLOY / "alertmanager.yml").read_text()


def test_the_rules_fire_when_they_should_and_not_before() -> None:
    result = subprocess.run(
        [find_program("promtool"), "test", "rules", "dynometer.tests.yml"],
        cwd=DEPLOY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_is_tested() -> None:
    rules = (DEPLOY / "dynometer.rules.yml").read_text()
    tests = (DEPLOY / "dynometer.tests.yml").read_text()
    alerts = [line.split(": ")[1] for line in rules.splitlines() if "- alert: " in line]
    assert len(alerts) == 20
    for alert in alerts:
        cases = tests.split(f"alertname: {alert}\n")[1:]
        assert any(case.lstrip().startswith("exp_alerts:\n") for case in cases), alert


@pytest.fixture
def webhook_receiver() -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """A receiver of webhooks: its address, and the (path, body) pairs it has received."""
    messages: list[tuple[str, dict[str, Any]]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            messages.append((self.path, json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}", messages
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.mark.timeout(300)
def test_a_crashed_app_reaches_the_pager(
    tmp_path: Path, webhook_receiver: tuple[str, list[tuple[str, dict[str, Any]]]]
) -> None:
    url, messages = webhook_receiver
    example = EXAMPLE.replace("http://127.0.0.1:9099", url).replace("30s", "1s")
    service = ServiceProcess(tmp_path / "service")
    service.start()
    try:
        text = 'at=info method=GET path="/" dyno=web.1 connect=1ms service=7ms status=200 bytes=9'
        # Two minutes ago, so that no minute has both answers and crashes: those are not down.
        send(service.url, "shop", [frame(158, time.time() - 120, "heroku", "router", text)])
        with alertmanager(tmp_path / "alertmanager", example) as manager:
            config = "\n".join(
                (
                    "global: {scrape_interval: 1s, evaluation_interval: 1s}",
                    f"rule_files: [{DEPLOY / 'dynometer.rules.yml'}]",
                    "alerting:",
                    "  alertmanagers:",
                    f"    - static_configs: [{{targets: ['{manager.removeprefix('http://')}']}}]",
                    "scrape_configs:",
                    "  - job_name: dynometer",
                    "    honor_labels: true",
                    f"    static_configs: [{{targets: ['{service.url.removeprefix('http://')}']}}]",
                )
            )
            with prometheus(tmp_path / "prometheus", config) as server:
                wait_until(lambda: len(server.query('heroku_errors_total{code="H10"}')) > 0, 30)
                crash = 'at=error code=H10 desc="App crashed" method=GET path="/" host=h dyno= '
                rest = "connect= service= status=503 bytes=0"
                for _ in range(3):  # no request was answered: the app is down
                    body = frame(158, time.time(), "heroku", "router", crash + rest)
                    send(service.url, "shop", [body])
                wait_until(lambda: bool(messages), 200)  # a minute is judged 15 s after its end
    finally:
        service.stop()
    path, message = messages[0]
    assert path == "/pager"
    assert message["groupLabels"] == {"app": "shop"}
    assert message["alerts"][0]["labels"]["alertname"] == "HerokuAppBroken"
    assert message["alerts"][0]["annotations"]["summary"] == "shop is down"
