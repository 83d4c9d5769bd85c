"""What https costs a POST of 100 lines: direct and behind each proxy of deploy/, with and without
reuse of connections, ECDSA and RSA. `python -m bench.tls`.

CPU of every process on the server's side, from the operating system; the clients are left out.
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
from bench.cpu import cpu_s, family
from bench.measure import table
from tests.proxies.test_proxies import TOKEN, Placed, haproxy, nginx, secret_of
from tests.support.processes import ServiceProcess
from tests.support.servers import wait_until

POSTS = 200
LINES = 100
ROUNDS = 5
_MS = 1000
_WAYS = ("http", "direct", "nginx", "haproxy")


@contextmanager
def placed(way: str, directory: Path, *, rsa: bool) -> Iterator[tuple[str, str, list[int]]]:
    """(address, certificate, processes) of a service that is reached this way."""
    settings = {"DYNOMETER_ADMIN_TOKEN": TOKEN, "DYNOMETER_PUBLIC_URL": "https://x.example.com"}
    service = ServiceProcess(directory / "service", **settings)
    at = Placed(directory, service, rsa=rsa)
    if way == "direct":
        service.arguments = ("--tls-cert", str(at.chain), "--tls-key", str(at.key))
    service.start()
    url = {"http": service.url, "direct": service.url.replace("http:", "https:")}.get(way, at.url)
    proxy = {"nginx": nginx, "haproxy": haproxy}.get(way)
    try:
        with proxy(at) if proxy else nullcontext():
            if proxy:
                wait_until(at.answers, 20)
            programs = {b"nginx": "nginx", b"haproxy": "haproxy"}
            own = [
                int(each.name)
                for each in Path("/proc").iterdir()
                if each.name.isdigit() and _is(each, programs, str(directory))
            ]
            yield url.replace("127.0.0.1", "localhost"), str(at.chain), [*family(service.pid), *own]
    finally:
        service.stop()


def _is(process: Path, programs: dict[bytes, str], directory: str) -> bool:
    """Whether this is a proxy that runs in the directory; nginx' workers say only what they are."""
    try:
        line = (process / "cmdline").read_bytes()
        name = (process / "comm").read_text().strip()
    except OSError:
        return False
    return name in programs.values() and (directory.encode() in line or b"worker process" in line)


def client_of(url: str, chain: str) -> httpx2.Client:
    """A client that believes this certificate."""
    context = ssl.create_default_context(cafile=chain)
    return httpx2.Client(base_url=url, verify=context, trust_env=False, timeout=30)


def spent_ms(
    client: httpx2.Client, secret: str, bodies: Sequence[bytes], pids: list[int], *, reuse: bool
) -> float:
    """A POST's share of what the processes spend on all of them: the median of the rounds."""
    headers = {} if reuse else {"Connection": "close"}
    rounds = []
    for _ in range(ROUNDS + 1):
        before_s = cpu_s(pids)
        for body in bodies:
            answer = client.post("/drain", content=body, auth=("shop", secret), headers=headers)
            answer.raise_for_status()
        rounds.append((cpu_s(pids) - before_s) / len(bodies) * _MS)
    return median(rounds[1:])


def measured(way: str, bodies: Sequence[bytes], *, rsa: bool) -> tuple[str, ...]:
    """A row of the table."""
    with (
        tempfile.TemporaryDirectory() as directory,
        placed(way, Path(directory), rsa=rsa) as (url, chain, pids),
        client_of(url, chain) as client,
    ):
        secret = secret_of(client)
        wait_until(lambda: client.post("/drain", auth=("shop", secret)).status_code == 200)
        figures = [spent_ms(client, secret, bodies, pids, reuse=reuse) for reuse in (True, False)]
    kind = "" if way == "http" else "RSA 2048" if rsa else "ECDSA P-256"
    return (way, kind, *(f"{figure:.2f}" for figure in figures))


def main() -> None:
    """Print the table."""
    frames = [line.frame for line in simulated_lines(dynos=4, lines_per_s=100, seconds=200)]
    bodies = joined(frames, LINES)[:POSTS]
    kinds = [(way, rsa) for way in _WAYS for rsa in ((False,) if way == "http" else (False, True))]
    rows = [measured(way, bodies, rsa=rsa) for way, rsa in kinds]
    print(f"\n### https (CPU ms a POST of {LINES} lines, service and proxy together)\n")
    print(table(("way", "certificate", "connection reused", "a new one each"), rows))


if __name__ == "__main__":
    main()
