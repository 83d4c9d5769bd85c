"""The bar of an app's page in a real browser: apps, ranges, filters, live or paused, links."""

from __future__ import annotations

import re
import time
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from playwright.sync_api import Page, expect

from app.traffic.simulated_lines import frame

HOUR_S = 3600


def range_of(page: Page) -> tuple[str, str]:
    """The ends of the range in the address."""
    query = parse_qs(urlsplit(page.url).query)
    return query.get("start", [""])[0], query.get("end", [""])[0]


def test_another_app_is_chosen_from_the_list_with_the_same_range(page: Page) -> None:
    page.goto("/apps/shop?range=6h&dyno=web.1")
    page.get_by_label("Other apps").click()
    page.locator(".switch li").get_by_role("link", name="blog").click()
    page.wait_for_url("**/apps/blog?range=6h")


def test_escape_closes_a_list_and_returns_to_its_button(page: Page) -> None:
    page.goto("/apps/shop")
    page.get_by_label("Other apps").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".switch ul")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".switch ul")).to_be_hidden()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Other apps"


def test_arrows_lead_to_the_time_before_and_back_to_now(page: Page) -> None:
    page.goto("/apps/shop")
    later = page.get_by_label("Later")
    assert later.get_attribute("aria-disabled") == "true"
    page.evaluate("window.here = true")
    page.get_by_label("Earlier").click()
    page.wait_for_url("**start=*")
    start, end = map(int, range_of(page))
    assert end - start == HOUR_S
    expect(page.get_by_role("link", name="Back to now")).to_be_visible()
    later.click()
    page.wait_for_url("**start=now-1h")
    expect(page.get_by_role("button", name="Live")).to_be_visible()
    assert page.evaluate("window.here")  # without a reload


def test_zooming_out_doubles_the_time(page: Page) -> None:
    page.goto("/apps/shop?range=6h")
    page.get_by_label("Zoom out").click()
    page.wait_for_url("**start=now-12h")
    expect(page.locator(".times summary")).to_have_text("The last 12 h")
    expect(page.locator(".controls .ranges [aria-current]")).to_have_count(0)


def test_any_two_times_can_be_entered(page: Page) -> None:
    page.goto("/apps/shop?compare=day")
    page.locator(".times summary").click()
    end_s = int(time.time()) // 60 * 60 - 600
    for label, at_s in (("From", end_s - 1200), ("To", end_s)):
        text = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(at_s))
        page.get_by_label(label, exact=True).fill(text)
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**start=*")
    assert "compare=day" in page.url
    expect(page.locator(".times summary")).to_have_text(re.compile(r"\d\d:\d\d to .*UTC"))
    page.locator(".card .hint").filter(has_text="From ").wait_for()
    data = page.locator("#for-charts").text_content() or ""
    assert f'"start": {end_s - 1200}' in data


def test_a_process_type_is_chosen_by_a_click_and_given_up_by_another(page: Page) -> None:
    page.goto("/apps/shop")
    types = page.get_by_role("group", name="Process type")
    types.get_by_role("link", name="web").click()
    page.wait_for_url("**process_type=web")
    expect(types.locator("[aria-current]")).to_have_text("web")
    expect(page.locator("table.dynos tbody tr").filter(has_text="worker")).to_have_count(0)
    types.get_by_role("link", name="all").click()
    expect(types.locator("[aria-current]")).to_have_text("all")
    expect(page.locator("table.dynos tbody tr").filter(has_text="worker")).not_to_have_count(0)


def test_a_paused_page_stays_as_it_is_until_it_is_continued(page: Page, url: str) -> None:
    page.clock.install()
    page.goto("/apps/blog")
    live = page.locator("[data-live]")
    live.click()
    expect(live).to_have_text("Paused")
    release = frame(190, time.time() - 5, "app", "api", "Release v888 created by user x")
    assert httpx2.post(f"{url}/drain", content=release, auth=("blog", "any")).status_code == 200
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.clock.run_for(65_000)
    assert requests == []
    live.click()
    page.get_by_text("v888").first.wait_for(state="attached")
    expect(live).to_have_text("Live")


def test_the_copied_link_shows_the_same_time_later(page: Page) -> None:
    page.goto("/apps/shop?process_type=web")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    query = parse_qs(urlsplit(link).query)
    assert query["process_type"] == ["web"]
    assert HOUR_S <= int(query["end"][0]) - int(query["start"][0]) <= HOUR_S + 60
    page.goto(link)
    expect(page.locator("h1")).to_have_text("shop")


def test_the_accounting_chip_leads_to_the_ledger(page: Page) -> None:
    page.goto("/apps/fleet")
    page.get_by_role("link", name="all accounted for").click()
    expect(page.locator("#ledger")).to_be_in_viewport()


@pytest.mark.parametrize("width", [640, 1280, 2560])
def test_a_focused_element_is_never_behind_the_bar(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    page.goto("/apps/shop")
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.locator("table.dynos a").last.focus()
    for _ in range(25):
        page.keyboard.press("Shift+Tab")
        is_covered = page.evaluate(
            """() => {
                const element = document.activeElement;
                const box = element.getBoundingClientRect();
                const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
                const isBar = Boolean(document.elementFromPoint(x, y)?.closest(".controls"));
                return isBar && !element.closest(".controls");
            }"""
        )
        assert not is_covered
