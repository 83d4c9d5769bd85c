"""Soak: memory, open files and keys of the service under steady load for minutes."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import httpx2
import redis

from app.storage import embedded
from app.storage.redis.keys import shared_id_keys
from bench.measure import table
from bench.process import resident_bytes, service

SAMPLE_EVERY_S = 5.0
WARM_UP = 0.4  # of the run, until the first stored data has expired
GROWTH_MAX = 0.05  # from the first half of the remaining run to the second
_MEBIBYTE = 2**20
# Stored data lives for two minutes, and for the minute that bench.soak_service adds.
_SETTINGS = {
    "DYNOMETER_RETENTION_1M": "2m",
    "DYNOMETER_RETENTION_10M": "2m",
    "DYNOMETER_RETENTION_1H": "2m",
    "DYNOMETER_HORIZON_PAST": "1m",
    "DYNOMETER_SPOOL_MAX_AGE": "1m",
}


class Sample(NamedTuple):
    """Values at one moment."""

    worker_mib: float
    worker_files: float
    store_mib: float
    store_ids: float
    store_keys: float


def main() -> int:
    """Print the table; returns 1 if a value grew."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--apps", type=int, default=20)
    parser.add_argument("--rate", type=int, default=50, help="lines per second and app")
    arguments = parser.parse_args()
    with (
        TemporaryDirectory(prefix="dynometer-") as directory,
        service(Path(directory), "bench.soak_service", **_SETTINGS) as (pid, url),
    ):
        samples = list(_under_load(arguments, Path(directory), pid, url))
        ledger = _lines(url)
    print(f"## Soak ({arguments.seconds} s, {arguments.apps} apps, {ledger:,} lines)\n")
    return _report(samples)


def _under_load(
    arguments: argparse.Namespace, directory: Path, pid: int, url: str
) -> Iterator[Sample]:
    store_url = embedded.find_running(directory)
    assert store_url is not None
    store = redis.Redis.from_url(store_url)
    store_pid = int(store.info("server")["process_id"])
    words = ["--apps", str(arguments.apps), "--rate", str(arguments.rate)]
    words += ["--duration", f"{arguments.seconds}s", "--to", url, "--unmarked"]
    with subprocess.Popen(
        [sys.executable, "-m", "app.cli", "simulate", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as sender:
        while sender.poll() is None:
            time.sleep(SAMPLE_EVERY_S)
            for path in ("/", "/metrics", "/api/v1/apps/demo/query?metric=service_time_ms"):
                httpx2.get(url + path, trust_env=False, timeout=30)
            ids = sum(store.hlen(key) for key in shared_id_keys(""))
            yield Sample(
                resident_bytes(pid) / _MEBIBYTE,
                len(os.listdir(f"/proc/{pid}/fd")),
                resident_bytes(store_pid) / _MEBIBYTE,
                ids,
                store.dbsize(),
            )


def _lines(url: str) -> int:
    text = httpx2.get(f"{url}/metrics", trust_env=False).text
    rows = (row for row in text.splitlines() if row.startswith("dynometer_messages_received_total"))
    return sum(int(float(row.rpartition(" ")[2])) for row in rows)


def _report(samples: list[Sample]) -> int:
    warm_samples = samples[int(len(samples) * WARM_UP) :]
    early, late = warm_samples[: len(warm_samples) // 2], warm_samples[len(warm_samples) // 2 :]
    rows = []
    grown_values = 0
    for name, field in (
        ("memory of the worker, MiB", "worker_mib"),
        ("open files of the worker", "worker_files"),
        ("memory of the store, MiB", "store_mib"),
        ("ids of batches in the store", "store_ids"),
        ("keys in the store", "store_keys"),
    ):
        # Data that expires together makes values go up and down, so peaks are compared.
        early_peak, late_peak = (
            max(getattr(sample, field) for sample in part) for part in (early, late)
        )
        growth = late_peak / early_peak - 1
        grown_values += growth > GROWTH_MAX
        start_value = getattr(samples[0], field)
        rows.append(
            (
                name,
                f"{start_value:,.1f}",
                f"{early_peak:,.1f}",
                f"{late_peak:,.1f}",
                f"{growth:+.1%}",
            )
        )
    print(table(("", "start", "warm, first half", "warm, second half", "growth"), rows))
    return 1 if grown_values else 0


if __name__ == "__main__":
    sys.exit(main())
