"""Lines as `heroku logs` prints them, the dynometer command, and a drain that records POSTs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.forked_command import ROOT, run_forked

AT_S = 1_795_341_600.0  # 2026-11-22T10:00:00Z


def text_line(source: str, text: str, *, at: float = AT_S) -> str:
    """One line; `source` has the form "heroku[router]"."""
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
    return f"{moment} {source}: {text}\n"


def router_text(
    *,
    at: float = AT_S,
    dyno: str = "web.1",
    service: str = "18ms",
    status: int = 200,
    code: str = "",
) -> str:
    """A router line of a finished request."""
    head = f'at=error code={code} desc="Something"' if code else "at=info"
    return text_line(
        "heroku[router]",
        f'{head} method=GET path="/" host=shop.example.com request_id=abc-123 fwd="192.0.2.1" '
        f"dyno={dyno} connect=1ms service={service} status={status} bytes=512 protocol=https",
        at=at,
    )


def memory_text(*, at: float = AT_S, dyno: str = "web.1", total: str = "256.00") -> str:
    """A line with the memory of a dyno with a quota of 512 MB."""
    return text_line(
        f"heroku[{dyno}]",
        f"source={dyno} dyno=heroku.1.0f0f sample#memory_total={total}MB "
        f"sample#memory_rss={total}MB sample#memory_quota=512.00MB",
        at=at,
    )


def load_text(*, at: float = AT_S, dyno: str = "web.1", load_1m: str = "0.50") -> str:
    """A line with the load of a dyno."""
    return text_line(
        f"heroku[{dyno}]",
        f"source={dyno} dyno=heroku.1.0f0f sample#load_avg_1m={load_1m} "
        "sample#load_avg_5m=0.40 sample#load_avg_15m=0.30",
        at=at,
    )


def framed(*messages: str) -> bytes:
    """A drain body of these messages."""
    encoded_messages = [message.encode() for message in messages]
    return b"".join(b"%d %s" % (len(message), message) for message in encoded_messages)


def environment(**settings: str) -> dict[str, str]:
    """The environment of this process, with these settings and no others of Dynometer."""
    prefixes = ("DYNOMETER_", "REDIS_URL", "HOST", "PORT", "WEB_CONCURRENCY")
    environment_variables = {
        name: value for name, value in os.environ.items() if not name.startswith(prefixes)
    }
    return environment_variables | settings


def dynometer(
    *arguments: str, stdin: bytes = b"", settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the dynometer command until it exits."""
    environ = environment(**(settings or {}))
    return run_forked(arguments, stdin=stdin, environ=environ, directory=ROOT)


def started_dynometer(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run the dynometer command until it exits, in a process that imports only its modules."""
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=ROOT,
        env=environment(),
        timeout=50,
        check=False,
    )


class RecordingDrain(ThreadingHTTPServer):
    """Answers POSTs with the statuses in `answers`, then 200. Records path, headers and body."""

    daemon_threads = True

    def __init__(self, answers: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.paths: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.bodies: list[bytes] = []
        self.readiness = b""  # the answer of /readyz
        self.arrived = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def wait_for_bodies(self, count: int) -> None:
        """Wait until there were `count` POSTs."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.bodies) >= count, timeout=30)

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: senders that disconnect are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RecordingDrain

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.readiness)))
        self.end_headers()
        self.wfile.write(self.server.readiness)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.arrived:
            status = self.server.answers.pop(0) if self.server.answers else 200
            self.server.paths.append(self.path)
            self.server.headers.append(dict(self.headers))
            self.server.bodies.append(body)
            self.server.arrived.notify_all()
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Print nothing: the test checks the recorded requests."""


@contextmanager
def recording_drain(*answers: int) -> Iterator[RecordingDrain]:
    """A drain that listens for the duration of the context."""
    with RecordingDrain(list(answers)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
