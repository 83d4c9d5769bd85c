"""The cost of an app's page with 90 days of 100 dynos: `python -m bench.page`.

Measures the browser's time until the charts are interactive, the service's time, and the bytes.
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
from app.storage.interface.apps import SeenApp
from app.storage.redis.store import connect
from bench.corpus import START_S
from bench.measure import table
from bench.process import service
from bench.store import RESOLUTIONS, TTL_MS, minutes, move_minute

APP = "shop"
DYNOS = 100
DAYS = 90
DISTINCT = 12  # minutes, which repeat, one in each hour
ROUNDS = 7
RANGES = ("1h", "6h", "24h", "7d", "90d")
_DRAWN = "() => document.documentElement.dataset.charts === 'drawn'"
_MS = 1000


async def fill(url: str, now_s: float) -> None:
    """Store one minute of each past hour, and every minute of the last hour."""
    store = connect(url)
    rollups = minutes(2_000, DYNOS, DISTINCT)
    now = align(int(now_s), 60)
    hours = range(align(now, HOUR_S) - DAYS * 24 * HOUR_S, now - HOUR_S, HOUR_S)
    starts = [*hours, *range(now - HOUR_S, now, 60)]
    worker = FoldWorker(
        store, RESOLUTIONS, name="bench", clock=lambda: now_s, interval_s=5, batches=64
    )
    for number, start in enumerate(starts):
        index = number % DISTINCT
        rollup = move_minute(rollups[index], int(START_S) + 60 * index, start)
        batch = new_batch(b"", pack_batch({start: rollup}))
        await store.append({APP: [batch]}, id_ttl_ms=TTL_MS, inbox_ttl_ms=TTL_MS)
    await worker.fold(APP)
    await worker.compact_closed()
    await store.record_sightings([SeenApp(APP, starts[0], now, now)], ttl_ms=TTL_MS)
    await store.close()


def measure(browser: Browser, url: str, pid: int) -> list[object]:
    """Medians for a page: main thread, of that scripts, service (all in ms), bytes, charts."""
    rounds = [_visit(browser, url, pid) for _ in range(ROUNDS + 1)]
    return [round(median(column)) for column in zip(*rounds[1:], strict=True)]


def _visit(browser: Browser, url: str, pid: int) -> tuple[float, ...]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Performance.enable")
    devtools.send("Network.enable")
    byte_counts: list[float] = []
    devtools.on(
        "Network.loadingFinished", lambda event: byte_counts.append(event["encodedDataLength"])
    )
    before_s = _cpu_s(pid)
    page.goto(url)
    page.wait_for_function(_DRAWN)
    browser_metrics = devtools.send("Performance.getMetrics")["metrics"]
    spent_s = {metric["name"]: metric["value"] for metric in browser_metrics}
    charts = page.locator(".chart canvas").count()
    context.close()
    return (
        spent_s["TaskDuration"] * _MS,
        spent_s["ScriptDuration"] * _MS,
        (_cpu_s(pid) - before_s) * _MS,
        sum(byte_counts),
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
    head = ("range", "browser, ms", "of that scripts, ms", "service, ms", "bytes", "charts")
    print(table(head, rows))


if __name__ == "__main__":
    main()
