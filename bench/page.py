"""The page of an app with 90 days of 100 dynos: what a browser spends on it until the charts can be
handled, what the service spends, and what goes over the wire. `python -m bench.page`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import httpx2
from playwright.sync_api import Browser, sync_playwright

from app.folding.fold_worker import FoldWorker
from app.ingest.received_batch import new_batch
from app.rollup.batch_codec import pack_batch
from app.rollup.resolutions import HOUR_S, align
from app.storage import embedded
from app.storage.interface import SeenApp
from app.storage.redis.store import connect
from bench.corpus import START_S
from bench.measure import table
from bench.process import service
from bench.store import RESOLUTIONS, TTL_MS, minutes, moved

APP = "shop"
DYNOS = 100
DAYS = 90
KINDS = 12  # of minutes, one in each hour, over and over
ROUNDS = 7
RANGES = ("1h", "6h", "24h", "7d", "90d")
_DRAWN = "() => document.documentElement.dataset.charts === 'drawn'"
_MS = 1000


async def fill(url: str, now_s: float) -> None:
    """A minute in each hour of the past, and every minute of the last one."""
    store = connect(url)
    kinds = minutes(2_000, DYNOS, KINDS)
    now = align(int(now_s), 60)
    hours = range(align(now, HOUR_S) - DAYS * 24 * HOUR_S, now - HOUR_S, HOUR_S)
    starts = [*hours, *range(now - HOUR_S, now, 60)]
    folder = FoldWorker(
        store, RESOLUTIONS, name="bench", clock=lambda: now_s, interval_s=5, batches=64
    )
    for number, start in enumerate(starts):
        which = number % KINDS
        rollup = moved(kinds[which], int(START_S) + 60 * which, start)
        batch = new_batch(b"", pack_batch({start: rollup}))
        await store.append({APP: [batch]}, id_ttl_ms=TTL_MS, inbox_ttl_ms=TTL_MS)
    await folder.fold(APP)
    await folder.compact_closed()
    await store.record_sightings([SeenApp(APP, starts[0], now, now)], ttl_ms=TTL_MS)
    await store.close()


def measure(browser: Browser, url: str, pid: int) -> list[object]:
    """Medians of a range's page: main thread, of it scripts, service (ms), bytes, charts."""
    rounds = [_visit(browser, url, pid) for _ in range(ROUNDS + 1)]
    return [round(median(column)) for column in zip(*rounds[1:], strict=True)]


def _visit(browser: Browser, url: str, pid: int) -> tuple[float, ...]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Performance.enable")
    devtools.send("Network.enable")
    received: list[float] = []
    devtools.on("Network.loadingFinished", lambda it: received.append(it["encodedDataLength"]))
    before_s = _cpu_s(pid)
    page.goto(url)
    page.wait_for_function(_DRAWN)
    found = devtools.send("Performance.getMetrics")["metrics"]
    spent_s = {each["name"]: each["value"] for each in found}
    charts = page.locator(".chart canvas").count()
    context.close()
    return (
        spent_s["TaskDuration"] * _MS,
        spent_s["ScriptDuration"] * _MS,
        (_cpu_s(pid) - before_s) * _MS,
        sum(received),
        charts,
    )


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print the table."""
    chromium = shutil.which("chromium")
    assert chromium is not None, "this needs chromium"
    with (
        tempfile.TemporaryDirectory() as directory,
        embedded.start(Path(directory) / "store", appendfsync="everysec") as server,
    ):
        asyncio.run(fill(server.url, time.time()))
        with (
            service(Path(directory) / "data", "app.cli serve", REDIS_URL=server.url) as (
                pid,
                url,
            ),
            sync_playwright() as playwright,
        ):
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            httpx2.get(f"{url}/apps/{APP}", trust_env=False).raise_for_status()
            rows = [
                (name, *measure(browser, f"{url}/apps/{APP}?range={name}", pid)) for name in RANGES
            ]
            browser.close()
    print(f"\n### The page of an app with {DYNOS} dynos (medians of {ROUNDS} first visits)\n")
    head = ("range", "browser, ms", "of it scripts, ms", "service, ms", "bytes", "charts")
    print(table(head, rows))


if __name__ == "__main__":
    main()
