"""The pages in a real browser: they show the API's figures, every control works, and they comply
with accessibility rules and with their own security policy.
"""

from __future__ import annotations

import time

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
    "/add",
    "/docs",
)
DESKTOP, WIDE, PHONE = (1280, 900), (1440, 900), (390, 844)


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


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_no_page_is_wider_than_its_window(page: Page, path: str, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_the_page_of_an_app_says_what_the_api_answers(page: Page, url: str) -> None:
    page.goto("/apps/shop")
    figures = dict(
        zip(
            page.locator(".figures dt").all_inner_texts(),
            page.locator(".figures dd:nth-of-type(1)").all_inner_texts(),
            strict=True,
        )
    )
    query_url = f"{url}/api/v1/apps/shop/query?metric=service_time_ms&stat=p95&step=range"
    answer = httpx2.get(query_url, trust_env=False).json()["series"][0]["values"][0]
    assert figures["p95"] == f"{answer:,.0f} ms"


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
    page.get_by_label("process type").select_option("worker")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**process_type=worker**")
    context.close()


def test_apps_are_found_by_a_pattern_and_opened_by_their_name(page: Page) -> None:
    page.goto("/")
    page.get_by_label("Apps").fill("shop*")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?app=shop*")
    names = page.locator("tbody th a")
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
    cells = page.locator("table:has(caption:text-is('Dynos')) tbody tr td:nth-of-type(4)")
    counts = [int(text.replace(",", "")) if text != "–" else -1 for text in cells.all_inner_texts()]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 100


def test_every_control_is_reached_by_the_keyboard(page: Page) -> None:
    page.goto("/")
    controls = page.locator("a, input, button, summary").count()
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
