"""The cost of https for a POST of 100 lines: `python -m bench.tls`.

Measured direct and behind each proxy of deploy/, with and without persistent connections, ECDSA
and RSA. CPU of every process on the server's side, from the operating system.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median

import httpx2

from bench.corpus import joined, simulated_lines
from bench.cpu import cpu_s, process_tree
from bench.measure import table
from tests.proxies.test_proxies import TOKEN, Deployment, haproxy, nginx, secret_of
from tests.support.processes import ServiceProcess
from tests.support.servers import wait_until

POSTS = 200
LINES = 100
ROUNDS = 5
_MS = 1000
_PATHS = ("http", "direct", "nginx", "haproxy")


@contextmanager
def deployed_service(
    path: str, directory: Path, *, rsa: bool
) -> Iterator[tuple[str, str, list[int]]]:
    """Run a service behind this path; yields (address, certificate, pids)."""
    settings = {"DYNOMETER_ADMIN_TOKEN": TOKEN, "DYNOMETER_PUBLIC_URL": "https://x.example.com"}
    service = ServiceProcess(directory / "service", **settings)
    at = Deployment(directory, service, rsa=rsa)
    if path == "direct":
        service.arguments = ("--tls-cert", str(at.chain), "--tls-key", str(at.key))
    service.start()
    url = {"http": service.url, "direct": service.url.replace("http:", "https:")}.get(path, at.url)
    proxy = {"nginx": nginx, "haproxy": haproxy}.get(path)
    try:
        with proxy(at) if proxy else nullcontext():
            if proxy:
                wait_until(at.answers, 20)
            programs = {b"nginx": "nginx", b"haproxy": "haproxy"}
            proxy_pids = [
                int(process.name)
                for process in Path("/proc").iterdir()
                if process.name.isdigit() and _is_proxy(process, programs, str(directory))
            ]
            yield (
                url.replace("127.0.0.1", "localhost"),
                str(at.chain),
                [*process_tree(service.pid), *proxy_pids],
            )
    finally:
        service.stop()


def _is_proxy(process: Path, programs: dict[bytes, str], directory: str) -> bool:
    """Whether this is a proxy that runs in the directory; nginx workers do not show theirs."""
    try:
        line = (process / "cmdline").read_bytes()
        name = (process / "comm").read_text().strip()
    except OSError:
        return False
    return name in programs.values() and (directory.encode() in line or b"worker process" in line)


def client_of(url: str, chain: str) -> httpx2.Client:
    """A client that trusts this certificate."""
    context = ssl.create_default_context(cafile=chain)
    return httpx2.Client(base_url=url, verify=context, trust_env=False, timeout=30)


def cpu_ms(
    client: httpx2.Client, secret: str, bodies: Sequence[bytes], pids: list[int], *, reuse: bool
) -> float:
    """CPU ms of the processes per POST: the median of the rounds."""
    headers = {} if reuse else {"Connection": "close"}
    rounds = []
    for _ in range(ROUNDS + 1):
        before_s = cpu_s(pids)
        for body in bodies:
            answer = client.post("/drain", content=body, auth=("shop", secret), headers=headers)
            answer.raise_for_status()
        rounds.append((cpu_s(pids) - before_s) / len(bodies) * _MS)
    return median(rounds[1:])


def measure(path: str, bodies: Sequence[bytes], *, rsa: bool) -> tuple[str, ...]:
    """A row of the table."""
    with (
        tempfile.TemporaryDirectory() as directory,
        deployed_service(path, Path(directory), rsa=rsa) as (url, chain, pids),
        client_of(url, chain) as client,
    ):
        secret = secret_of(client)
        wait_until(lambda: client.post("/drain", auth=("shop", secret)).status_code == 200)
        figures = [cpu_ms(client, secret, bodies, pids, reuse=reuse) for reuse in (True, False)]
    kind = "" if path == "http" else "RSA 2048" if rsa else "ECDSA P-256"
    return (path, kind, *(f"{figure:.2f}" for figure in figures))


def main() -> None:
    """Print the table."""
    frames = [line.frame for line in simulated_lines(dynos=4, lines_per_s=100, seconds=200)]
    bodies = joined(frames, LINES)[:POSTS]
    kinds = [
        (path, rsa) for path in _PATHS for rsa in ((False,) if path == "http" else (False, True))
    ]
    rows = [measure(path, bodies, rsa=rsa) for path, rsa in kinds]
    print(f"\n### https (CPU ms per POST of {LINES} lines, service and proxy together)\n")
    print(table(("path", "certificate", "persistent connection", "new connection each"), rows))


if __name__ == "__main__":
    main()
