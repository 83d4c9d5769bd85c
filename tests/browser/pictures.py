"""Takes the README's pictures: `make pictures`. A list of apps, and one app in an incident."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import sync_playwright

from tests.support.lines import frame, load, memory, router
from tests.support.processes import ROOT, ServiceProcess
from tests.support.traffic import hour, send

IMAGES = ROOT / "docs" / "images"
WIDTH = 1280
PICTURES = (("/", "apps", 530), ("/apps/api", "incident", 1_090))  # path, file, height
APPS = ("blog", "checkout", "search", "shop")
BROKEN = "api"
BROKEN_FOR_S = 14 * 60
REQUESTS_PER_S = 2
CRASH_EVERY_S = 120
DYNOS = ("web.1", "web.2")


def main() -> None:
    """Write the pictures to docs/images."""
    IMAGES.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="dynometer-") as directory:
        service = ServiceProcess(Path(directory))
        service.start()
        try:
            for seed, app in enumerate(APPS):
                send(service.url, app, hour(app, seed))
            broken_s = time.time() - BROKEN_FOR_S
            send(service.url, BROKEN, hour(BROKEN, 9, until_s=broken_s, seconds=46 * 60))
            send(service.url, BROKEN, list(incident(broken_s, time.time())))
            take(service.url)
        finally:
            service.stop()


def incident(start_s: float, end_s: float) -> Iterator[bytes]:
    """A release, after which both web dynos crash and every request fails with H10."""
    yield frame(
        "Release v57 created by user a@example.com", app_name="app", procid="api", at_s=start_s - 50
    )
    at_s, number = start_s, 0
    while at_s < end_s:
        yield router(
            at_s,
            head='at=error code=H10 desc="App crashed"',
            dyno="",
            connect="",
            service="",
            status="503",
            size="",
        )
        if number % (REQUESTS_PER_S * CRASH_EVERY_S) == 0:
            for dyno in DYNOS:
                yield frame("Process exited with status 1", procid=dyno, at_s=at_s)
                yield frame("State changed from starting to crashed", procid=dyno, at_s=at_s)
        if number % (REQUESTS_PER_S * 20) == 0:
            for dyno in DYNOS:
                yield memory(at_s, dyno=dyno, total="118.25")
                yield load(at_s, dyno=dyno, load_1m="0.05")
        at_s, number = at_s + 1 / REQUESTS_PER_S, number + 1


def take(url: str) -> None:
    """Open both pages in a browser and keep what it shows."""
    with sync_playwright() as playwright:
        program = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(base_url=url)
        for path, name, height in PICTURES:
            page.set_viewport_size({"width": WIDTH, "height": height})
            page.goto(path)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=str(IMAGES / f"{name}.png"))
        browser.close()


if __name__ == "__main__":
    main()
