"""The pages in a real browser: they show the API's figures, every control works, and they comply
with accessibility rules and with their own security policy.
"""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from app.traffic.simulated_lines import frame

PAGES = (
    "/",
    "/apps/shop",
    "/apps/shop?range=6h&sort=memory&compare=day",
    "/apps/shop?dyno=web.1&scale=log",
    "/apps/fleet?split=dynos",
    "/apps/nobody",
    "/alerts",
    "/apps/shop/remove",
    "/nowhere",
    "/readyz",
    "/add",
    "/docs",
)
WIDE, PHONE = (1440, 900), (390, 844)


@pytest.mark.parametrize("path", PAGES)
def test_the_browser_reports_no_errors(page: Page, complaints: list[str], path: str) -> None:
    page.goto(path)
    assert page.title().endswith("Dynometer")
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE])
@pytest.mark.parametrize("path", PAGES)
def test_an_accessibility_checker_finds_nothing(
    page: Page, path: str, scheme: str, size: tuple[int, int]
) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(path)
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


def test_the_page_of_an_app_says_what_the_api_answers(page: Page, url: str) -> None:
    ends_s = {last_complete_minute()}
    page.goto("/apps/shop")
    ends_s.add(last_complete_minute())
    verdict = httpx2.get(f"{url}/api/v1/apps/shop/verdict", trust_env=False).json()
    p95 = page.locator(".figures > div", has_text="p95").locator("dd")
    recent = {p95_of(url, f"start={end_s - 300}&end={end_s}") for end_s in ends_s}
    slow = [finding["what"] for finding in verdict["findings"] if finding["kind"] == "slow"]
    recent |= {f"{what['value']:,.0f} ms" for what in slow}  # a problem has its own p95
    assert p95.first.inner_text() in recent
    range_values = {p95_of(url, f"start={end_s - 3480}&end={end_s + 120}") for end_s in ends_s}
    assert p95.last.inner_text().removeprefix("1 h: ") in range_values


def last_complete_minute() -> int:
    return int(time.time() - 60) // 60 * 60


def p95_of(url: str, time_range: str) -> str:
    query_url = f"{url}/api/v1/apps/shop/query?metric=service_time_ms&stat=p95&step=range"
    answer = httpx2.get(f"{query_url}&{time_range}", trust_env=False).json()
    value = answer["series"][0]["values"][0]  # None once the traffic is too long ago
    return "–" if value is None else f"{value:,.0f} ms"


def test_the_state_of_an_app_is_a_word_and_its_findings_lead_to_their_time(
    page: Page, url: str
) -> None:
    page.goto("/apps/fleet")  # web.1 crashes again and again
    verdict = httpx2.get(f"{url}/api/v1/apps/fleet/verdict", trust_env=False).json()
    for chip in page.locator(".where .chip, .verdict .chip").all():
        assert chip.inner_text().split()[-1].lower() == verdict["state"]
        assert verdict["state"] in (chip.get_attribute("class") or "")
    expect(page.locator(".facts")).to_contain_text("web.1, of 24 web dynos.")
    expect(page.locator(".facts")).to_contain_text("after release v57.")
    page.get_by_role("link", name="Charts of this time").click()
    page.wait_for_url("**start=*")
    start_s = int(parse_qs(urlsplit(page.url).query)["start"][0])
    assert abs(start_s + 900 - verdict["since"]) <= 60
    page.goto("/")
    row = page.locator("tr", has=page.get_by_role("link", name="fleet", exact=True))
    assert row.locator(".chip").inner_text().split()[-1].lower() == verdict["state"]


@pytest.mark.chromium
def test_without_scripts_the_page_is_whole(browser: Browser, url: str) -> None:
    context = browser.new_context(base_url=url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/apps/shop")
    assert page.locator(".chart svg path").count() > 20
    assert "release v212" in page.locator(".mark title").all_text_contents()
    assert page.locator(".figures dd").first.is_visible()
    heatmap = page.locator("[data-chart=spread] .picture")
    assert heatmap.locator("path[class^=h]").count() > 3
    assert page.get_by_role("button", name="PNG").count() == 0
    assert page.get_by_role("button", name="Live").count() == 0
    page.get_by_role("group", name="Process type").get_by_role("link", name="worker").click()
    page.wait_for_url("**process_type=worker**")
    page.get_by_label("compare with").select_option("week")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**process_type=worker**compare=week**")
    context.close()


def test_apps_are_found_by_a_pattern_and_opened_by_their_name(page: Page) -> None:
    page.goto("/")
    page.get_by_label("Apps").fill("shop*")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?app=shop*")
    names = page.locator("tbody th a:visible")
    expect(names).to_have_count(2)  # the list follows the address
    assert sorted(names.all_inner_texts()) == ["shop", "shop-eu"]
    names.filter(has_text="shop-eu").click()
    page.wait_for_url("**/apps/shop-eu")
    assert page.locator("h1").inner_text() == "shop-eu"


def test_ranges_and_columns_are_chosen_by_clicking_and_stay_in_the_address(page: Page) -> None:
    page.goto("/apps/shop")
    page.get_by_role("link", name="6h", exact=True).click()
    page.wait_for_url("**range=6h**")
    expect(page.locator("[aria-current=page]")).to_have_text("6h")
    page.get_by_role("link", name="requests", exact=True).click()
    page.wait_for_url("**range=6h&sort=requests")
    expect(page.locator("th[aria-sort]")).to_have_text("requests")
    cells = page.locator("table:has(caption:text-is('Dynos')) tbody tr td:nth-of-type(6)")
    counts = [int(text.replace(",", "")) if text != "–" else -1 for text in cells.all_inner_texts()]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 100


def test_every_control_is_reached_by_the_keyboard(page: Page) -> None:
    page.goto("/")
    kinds = ("a", "input", "select", "button", "summary")
    controls = page.locator(", ".join(f"{kind}:visible" for kind in kinds)).count()
    focused_elements = set()
    for _ in range(controls):
        page.keyboard.press("Tab")
        focused_elements.add(page.evaluate("document.activeElement.outerHTML"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
    assert len(focused_elements) >= controls - 2  # equal links look equal


_SHIFT = """new Promise((done) => {
    let shift = 0;
    const add = (list) => list.getEntries().forEach((each) => { shift += each.value; });
    new PerformanceObserver(add).observe({ type: 'layout-shift', buffered: true });
    requestAnimationFrame(() => requestAnimationFrame(() => done(shift)));
})"""


def test_nothing_moves_after_the_first_paint(page: Page) -> None:
    page.goto("/apps/shop")
    assert page.evaluate(_SHIFT) == 0


def test_new_lines_show_without_a_reload_and_open_sections_stay_open(page: Page, url: str) -> None:
    page.clock.install()
    page.goto("/apps/blog")
    page.evaluate("window.here = true")
    page.locator("details:has-text('Events') summary").click()
    open_states = page.locator("details").evaluate_all("all => all.map(each => each.open)")
    text = "Release v777 created by user x"
    body = frame(190, time.time() - 5, "app", "api", text)
    assert httpx2.post(f"{url}/drain", content=body, auth=("blog", "any")).status_code == 200

    page.clock.run_for(31_000)

    page.get_by_text("v777").first.wait_for(state="attached")
    assert page.evaluate("window.here")
    assert page.locator("details").evaluate_all("all => all.map(each => each.open)") == open_states


def test_an_unreachable_service_is_reported_until_it_is_back(page: Page) -> None:
    page.clock.install()
    page.goto("/apps/shop")
    page.route("**/apps/shop", lambda route: route.abort())
    page.clock.run_for(31_000)
    page.get_by_text("Can't reach Dynometer").wait_for()
    assert page.locator(".figures").is_visible()
    page.unroute("**/apps/shop")
    page.clock.run_for(31_000)
    page.get_by_text("Can't reach Dynometer").wait_for(state="detached")
