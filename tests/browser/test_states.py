"""The pages without data, without a store, and without a signed-in user."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from app.traffic.simulated_lines import frame
from tests.support.processes import RedisProcess, ServiceProcess
from tests.support.servers import wait_until

TOKEN = "a-token-of-the-admin"


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service without any data."""
    service = ServiceProcess(tmp_path)
    service.start()
    yield service
    service.stop()


def send(service: ServiceProcess, app: str = "shop", password: str = "any") -> None:
    text = (
        'at=info method=GET path="/" host=h dyno=web.1 connect=1ms service=7ms status=200 bytes=9'
    )
    body = frame(158, time.time() - 2, "heroku", "router", text)
    answer = httpx2.post(f"{service.url}/drain", content=body, auth=(app, password))
    assert answer.status_code == 200


def check_accessibility(page: Page) -> None:
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


def test_the_first_steps_turn_into_figures_without_a_reload(
    page: Page, fresh: ServiceProcess
) -> None:
    page.clock.install()
    page.goto(fresh.url)
    expect(page.locator("h1")).to_have_text("Waiting for the first log line")
    check_accessibility(page)
    send(fresh)
    page.clock.run_for(21_000)
    expect(page.get_by_role("link", name="shop")).to_be_visible()
    page.goto(f"{fresh.url}/apps/shop")
    expect(page.locator("#memory")).to_contain_text("heroku labs:enable log-runtime-metrics")
    expect(page.locator("[data-chart=memory] .empty")).to_contain_text("log-runtime-metrics")
    expect(page.locator("[data-chart=response] canvas")).to_be_visible()


def test_pages_report_an_unavailable_store_and_recover(page: Page, tmp_path: Path) -> None:
    store = RedisProcess(tmp_path / "redis", "--appendfsync", "always")
    service = ServiceProcess(tmp_path, REDIS_URL=f"redis://127.0.0.1:{store.port}")
    store.start()
    service.start()
    try:
        send(service)
        page.clock.install()
        page.goto(f"{service.url}/apps/shop")
        expect(page.locator(".figures")).to_be_visible()
        store.kill()
        send(service)
        page.clock.run_for(21_000)
        expect(page.locator("h1")).to_have_text("Redis is unavailable")
        expect(page.locator("main")).to_contain_text("Buffering on disk since ")
        expect(page.locator(".figures")).to_have_count(0)
        check_accessibility(page)
        store.start()
        wait_until(
            lambda: httpx2.get(f"{service.url}/readyz").json()["store"]["status"] == "ok", 30
        )
        refreshed(page, "[data-chart=response] canvas")
        store.kill()
        page.goto(f"{service.url}/apps/shop")  # a page that began without charts gets them, too
        expect(page.locator("h1")).to_have_text("Redis is unavailable")
        store.start()
        wait_until(lambda: httpx2.get(f"{service.url}/readyz").json()["store"]["status"] == "ok")
        refreshed(page, "[data-chart=response] canvas")
    finally:
        service.stop()
        store.kill()
        store.client.close()


def test_signing_in_adding_an_app_and_signing_out(context: BrowserContext, tmp_path: Path) -> None:
    settings = {
        "DYNOMETER_ADMIN_TOKEN": TOKEN,
        "DYNOMETER_PUBLIC_URL": "https://metrics.example.com",
    }
    service = ServiceProcess(tmp_path, **settings)
    service.start()
    page = context.new_page()
    try:
        page.goto(f"{service.url}/apps/shop?range=6h")
        expect(page.locator("h1")).to_have_text("Sign in")
        check_accessibility(page)
        page.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text(
            "That token isn't valid here. It may have expired."
        )
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_url("**/apps/shop?range=6h")
        page.get_by_role("link", name="Add apps").click()
        page.get_by_label("Heroku app names").fill("shop blog")
        page.get_by_role("button", name="Create commands").click()
        expect(page.locator("h1")).to_have_text("Run this to connect 2 apps")
        check_accessibility(page)
        first = page.locator("#commands").inner_text().splitlines()[0]
        secret = first.split("shop:")[1].split("@")[0]
        send(service, password=secret)
        page.get_by_role("link", name="Apps", exact=True).click()
        expect(page.get_by_role("link", name="shop")).to_be_visible()
        assert page.evaluate("document.cookie") == ""
        page.get_by_role("button", name="Sign out").click()
        expect(page.locator("h1")).to_have_text("Sign in")
        page.goto(service.url)
        expect(page.locator("h1")).to_have_text("Sign in")
    finally:
        service.stop()


def refreshed(page: Page, selector: str) -> None:
    """Refresh until the selector is visible; the first refresh may still use a dead connection."""

    def there() -> bool:
        page.clock.run_for(21_000)
        page.wait_for_load_state("networkidle")
        return page.locator(selector).is_visible()

    wait_until(there, 40)


def test_one_click_brings_demo_data_and_another_page_removes_it(
    page: Page, fresh: ServiceProcess
) -> None:
    page.goto(fresh.url)
    page.get_by_role("button", name="Show me with demo data").click()
    page.wait_for_url("**/apps/demo")
    expect(page.locator("[data-chart=memory] canvas")).to_be_visible(timeout=10_000)
    expect(page.locator("main")).to_contain_text("These lines come from a simulation")
    page.goto(fresh.url)
    page.get_by_role("link", name="Remove demo").click()
    check_accessibility(page)
    page.get_by_role("button", name="Remove demo and its data").click()
    expect(page.locator("h1")).to_have_text("demo is removed")
    page.goto(fresh.url)
    expect(page.locator("h1")).to_have_text("Waiting for the first log line")


def test_a_button_copies_its_command(context: BrowserContext, fresh: ServiceProcess) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(fresh.url)
    page.locator("[data-copy-of=simulate]").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"dynometer simulate --history 1h --to {fresh.url}"
