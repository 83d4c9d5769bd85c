"""Drains and people reach the service through the proxies of deploy/."""

from __future__ import annotations

import os
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from tests.support.certificates import certificate
from tests.support.lines import router
from tests.support.monitoring import running
from tests.support.processes import ROOT, ServiceProcess, free_port
from tests.support.servers import find_program, wait_until

TOKEN = "a-token-of-the-admin"
MEBIBYTE = 2**20
BATCHES, LINES = 100, 30


class Deployment:
    """The addresses of a proxy and of the service behind it."""

    def __init__(self, directory: Path, service: ServiceProcess, *, rsa: bool = False) -> None:
        self.directory = directory
        self.service = service
        self.port = free_port()
        self.chain, self.key = certificate(directory, "localhost", rsa=rsa)
        self.url = f"https://localhost:{self.port}"

    def client(self) -> httpx2.Client:
        context = ssl.create_default_context(cafile=str(self.chain))
        return httpx2.Client(base_url=self.url, verify=context, trust_env=False, timeout=30)

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return client.get("/healthz").status_code == 200
        except httpx2.TransportError:
            return False


@contextmanager
def nginx(at: Deployment) -> Iterator[None]:
    site = (ROOT / "deploy/nginx/dynometer.conf").read_text()
    for default, value in (
        ("listen 443 ssl", f"listen 127.0.0.1:{at.port} ssl"),
        ("127.0.0.1:8080", f"127.0.0.1:{at.service.port}"),
        ("/etc/ssl/dynometer.pem", str(at.chain)),
        ("/etc/ssl/dynometer.key", str(at.key)),
    ):
        assert default in site
        site = site.replace(default, value)
    config = at.directory / "nginx.conf"
    paths = "".join(
        f"{kind}_temp_path {at.directory}/{kind}; "
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = (
        "user root; " if os.geteuid() == 0 else ""
    )  # workers must be able to write into the directory
    config.write_text(
        f"{user}pid {at.directory}/pid; error_log {at.directory}/error.log; daemon off;\n"
        "events {}\n"
        f"http {{ access_log {at.directory}/access.log; {paths}\n{site}\n}}\n"
    )
    command = [find_program("nginx"), "-p", str(at.directory), "-c", str(config)]
    with running(at.directory / "nginx.log", command, f"{at.service.url}/healthz"):
        yield


@contextmanager
def haproxy(at: Deployment) -> Iterator[None]:
    certificate_file = at.directory / "combined.pem"
    certificate_file.write_text(at.chain.read_text() + at.key.read_text())
    text = (ROOT / "deploy/haproxy/haproxy.cfg").read_text()
    for default, value in (
        ("bind :443 ", f"bind 127.0.0.1:{at.port} "),
        ("127.0.0.1:8080", f"127.0.0.1:{at.service.port}"),
        ("/etc/ssl/dynometer.pem", str(certificate_file)),
    ):
        assert default in text
        text = text.replace(default, value)
    config = at.directory / "haproxy.cfg"
    config.write_text(text)
    command = [find_program("haproxy"), "-db", "-f", str(config)]
    with running(at.directory / "haproxy.log", command, f"{at.service.url}/healthz"):
        yield


@pytest.fixture(params=[nginx, haproxy], ids=["nginx", "haproxy"])
def deployment(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Deployment]:
    settings = {
        "DYNOMETER_ADMIN_TOKEN": TOKEN,
        "DYNOMETER_PUBLIC_URL": "https://metrics.example.com",
    }
    service = ServiceProcess(tmp_path / "service", **settings)
    service.start()
    at = Deployment(tmp_path, service)
    proxy: Callable[[Deployment], Iterator[None]] = request.param
    try:
        with proxy(at):  # type: ignore[attr-defined]  # a context manager
            wait_until(at.answers, 20)
            yield at
    finally:
        service.stop()


def secret_of(client: httpx2.Client) -> str:
    answer = client.post("/api/v1/drains", json={"apps": ["shop"]}, auth=("x", TOKEN))
    add: str = answer.json()["drains"][0]["add"]
    return add.split("shop:")[1].split("@", maxsplit=1)[0]


def test_a_drain_works_through_the_proxy(deployment: Deployment) -> None:
    with deployment.client() as client:
        secret = secret_of(client)

        def post(body: bytes, **headers: str) -> httpx2.Response:
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            return client.post("/drain", content=body, headers=fields, auth=("shop", secret))

        body = router(time.time() - 1) * LINES
        wait_until(lambda: post(b"").status_code == 200)
        for _ in range(BATCHES):
            frame_id = uuid.uuid4().hex
            answers = [post(body, Logplex_Frame_Id=frame_id) for _ in range(2)]
            assert [answer.status_code for answer in answers] == [200, 200]
            assert answers[0].headers["content-length"] == "0"
        query = "/api/v1/apps/shop/query?metric=requests&step=range"
        answer = client.get(query, auth=("x", TOKEN)).json()
        assert answer["series"][0]["values"] == [BATCHES * LINES]
        assert client.post("/drain", content=body, auth=("shop", "wrong")).status_code == 401


def test_bodies_up_to_the_limit_pass_and_larger_ones_are_rejected(deployment: Deployment) -> None:
    with deployment.client() as client:
        secret = secret_of(client)
        line = router(time.time() - 1)

        def status(size: int) -> int:
            body = line * (size // len(line))
            return client.post("/drain", content=body, auth=("shop", secret)).status_code

        wait_until(lambda: status(0) == 200)
        assert status(15 * MEBIBYTE) == 200
        # Closed in the middle of the body: the answer is lost where the rest is still being sent.
        with suppress(httpx2.TransportError):
            assert status(17 * MEBIBYTE) == 413
        assert status(len(line)) == 200


def test_people_sign_in_and_their_cookie_stays_on_https(deployment: Deployment) -> None:
    with deployment.client() as client:
        page = client.get("/", headers={"Accept": "text/html"})
        assert page.headers["location"] == "/sign-in?next=/"
        answer = client.post(
            "/sign-in",
            data={"token": TOKEN},
            headers={"Origin": deployment.url},
            follow_redirects=True,
        )
        assert answer.status_code == 200
        assert "Secure" in answer.history[0].headers["set-cookie"]
        assert (
            "drains:add"
            in client.post("/add", data={"apps": "blog"}, headers={"Origin": deployment.url}).text
        )
