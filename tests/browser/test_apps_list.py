"""The list of apps and the page of alerts in a real browser: search, mutes, ages, any width."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

APPS = ["blog", "fleet", "hooks", "shop", "shop-eu"]


def shown(page: Page) -> list[str]:
    """The names in the rows that are visible."""
    return sorted(page.locator("tr[data-app]:visible th a").all_inner_texts())


@pytest.fixture(scope="module", autouse=True)
def channel(url: str) -> Iterator[None]:
    """A channel, without which there is nothing to mute. It accepts none of the apps."""
    address = f"{url}/api/v1/alerts/channels"
    body = {"name": "ops", "kind": "slack", "url": "https://hooks.example.com/x", "apps": ["none"]}
    assert httpx2.post(address, json=body, trust_env=False).status_code == 201
    yield
    assert httpx2.delete(f"{address}/ops", trust_env=False).status_code == 204


@pytest.fixture
def without_scripts(browser: Browser, url: str) -> Iterator[Page]:
    context = browser.new_context(base_url=url, java_script_enabled=False)
    yield context.new_page()
    context.close()


def open_all(page: Page) -> None:
    page.goto("/")
    for folded in page.locator("main details:not([open]) summary").all():
        folded.click()


def test_the_list_narrows_and_widens_while_somebody_types(page: Page) -> None:
    open_all(page)
    assert shown(page) == APPS
    box = page.get_by_label("Search apps")
    box.press_sequentially("sho")
    assert shown(page) == ["shop", "shop-eu"]  # at once
    page.wait_for_url("**/?app=sho")
    expect(page.get_by_text("2 of 5 apps, worst first")).to_be_visible()
    expect(box).to_be_focused()
    box.press_sequentially("p-")
    assert shown(page) == ["shop-eu"]
    page.wait_for_url("**/?app=shop-")
    box.fill("?log")
    expect(page.locator("tr[data-app]:visible th a")).to_have_text(["blog"])
    box.fill("")
    expect(page).to_have_url(re.compile("/$"))
    expect(page.get_by_text("5 apps, worst first")).to_be_visible()
    expect(box).to_be_focused()


def test_what_is_typed_while_an_answer_is_on_its_way_stays(page: Page) -> None:
    page.goto("/")
    box = page.get_by_label("Search apps")
    page.evaluate("document.addEventListener('mainreplacing', () => { window.replaced = true; })")
    box.press_sequentially("shop")
    page.wait_for_url("**/?app=shop")
    box.press_sequentially("-e")
    page.wait_for_function("window.replaced")
    expect(box).to_have_value("shop-e")
    page.wait_for_url("**/?app=shop-e")
    assert shown(page) == ["shop-eu"]


def test_a_slash_leads_to_the_search_box(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("/")
    box = page.get_by_label("Search apps")
    expect(box).to_be_focused()
    expect(box).to_have_value("")


def test_ages_count_on_between_two_answers(page: Page) -> None:
    page.clock.install()
    page.goto("/")
    age = page.locator(".badge time")
    expect(age).to_have_text("0 s ago")
    page.clock.run_for(5_000)
    expect(age).to_have_text("5 s ago")


def test_an_app_is_muted_and_unmuted_with_a_click(page: Page, url: str) -> None:
    page.goto("/?app=blog")
    page.get_by_label("Mute suppresses").select_option("4 hours")
    page.get_by_role("button", name="Mute blog").click()
    page.wait_for_url("**/?app=blog")
    expect(page.locator("tr[data-app=blog] .tag")).to_contain_text("muted until")
    (mute,) = httpx2.get(f"{url}/api/v1/alerts", trust_env=False).json()["mutes"]
    assert (mute["app"], mute["until"] - mute["since"]) == ("blog", 4 * 3600)
    page.get_by_role("link", name="Alerts", exact=True).click()
    page.get_by_role("button", name="Unmute blog").click()
    page.wait_for_url("**/alerts")
    expect(page.get_by_role("button", name="Unmute blog")).to_have_count(0)
    page.get_by_label("Mute", exact=True).fill("hooks")
    page.get_by_role("button", name="Mute", exact=True).click()
    page.get_by_role("button", name="Unmute hooks").click()
    expect(page.get_by_role("button", name="Unmute hooks")).to_have_count(0)


@pytest.mark.chromium
def test_without_scripts_the_list_is_searched_and_apps_are_muted(without_scripts: Page) -> None:
    page = without_scripts
    page.goto("/")
    page.get_by_label("Search apps").fill("op-e")
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**/?app=op-e")
    assert shown(page) == ["shop-eu"]
    page.get_by_role("button", name="Mute shop-eu").click()
    page.get_by_role("button", name="Unmute shop-eu").click()
    expect(page.get_by_role("button", name="Mute shop-eu")).to_be_visible()


@pytest.mark.parametrize("width", [390, 768, 1024, 1440, 2560])
def test_every_row_is_whole_at_any_width(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto("/")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    table = page.locator("table.apps").first
    box, sheet = table.bounding_box(), page.locator("article").bounding_box()
    assert box is not None
    assert sheet is not None
    assert box["x"] + box["width"] <= sheet["x"] + sheet["width"]
    row = page.locator("tr[data-app=shop]")
    for cell in (".chip", "th a", ".problem", ".figure >> nth=0", ".last", ".act button"):
        expect(row.locator(cell).first).to_be_visible()
