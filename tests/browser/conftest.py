"""A browser, and a service with an hour of traffic to look at."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from app.traffic.simulated_lines import frame
from tests.support.lines import memory, router
from tests.support.processes import ServiceProcess
from tests.support.traffic import hour, send

APPS = ("blog", "shop", "shop-eu")
FLEET_DYNOS = 24
SLOW_DYNO = "web.7"
DESKTOP = (1280, 900)
IS_FIREFOX = os.environ.get("DYNOMETER_TEST_BROWSER") == "firefox"  # by 'make test-engines'


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service with an hour of traffic of three apps, and a release in the middle of it."""
    service = ServiceProcess(tmp_path_factory.mktemp("pages"))
    service.start()
    try:
        for number, app in enumerate(APPS):
            release = frame(190, time.time() - 1800, "app", "api", "Release v212 created by user x")
            send(service.url, app, [*hour(app, number), release])
        send(service.url, "fleet", fleet(time.time()))
        send(service.url, "hooks", [router(time.time() - 1800, service="120ms")])
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="session")
def url(service: ServiceProcess) -> str:
    """Its address."""
    return service.url


def fleet(now_s: float) -> list[bytes]:
    """Two dozen dynos, one of them slow, and a crash that repeats after a release."""
    frames = [frame(190, now_s - 1500, "app", "api", "Release v57 created by user x")]
    for number in range(1, FLEET_DYNOS + 1):
        name = f"web.{number}"
        service = "900ms" if name == SLOW_DYNO else f"{50 + number}ms"
        frames += [router(now_s - 60 * minute, dyno=name, service=service) for minute in (5, 10)]
        frames.append(memory(now_s - 300, dyno=name, total=f"{200 + number}.00"))
    for minute in range(16, 24):
        text = "State changed from up to crashed"
        frames.append(frame(158, now_s - 60 * minute, "heroku", "web.1", text))
    return frames


def wait_for_frame(page: Page) -> None:
    """Wait until a frame was painted: charts take the width of their column only before it."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture(scope="module")  # while playwright runs, no other event loop can
def browser() -> Iterator[Browser]:
    program = shutil.which("firefox-esr" if IS_FIREFOX else "chromium")
    assert program is not None
    with sync_playwright() as playwright:
        if IS_FIREFOX:  # of Debian, over WebDriver BiDi
            browser = playwright.firefox.launch(channel="moz-firefox", executable_path=program)
        else:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """Messages in the browser's console, script errors and failed requests."""
    return []


@pytest.fixture
def page(url: str, browser: Browser, complaints: list[str]) -> Iterator[Page]:
    """A page of a browser in India, which is UTC+5:30 all year."""

    def complain(message: ConsoleMessage) -> None:
        if "404" not in message.text:  # the page of an unknown app is one
            complaints.append(message.text)

    def fail(request: Request) -> None:
        complaints.append(f"{request.url}: {request.failure}")

    context = browser.new_context(
        base_url=url,
        viewport={"width": DESKTOP[0], "height": DESKTOP[1]},
        timezone_id="Asia/Kolkata",
        permissions=[] if IS_FIREFOX else ["clipboard-read", "clipboard-write"],
    )
    page = context.new_page()
    page.on("console", complain)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", fail)
    yield page
    context.close()
