"""The pages on a phone, at 200 % zoom and on a wide screen: nothing is cut or scrolls sideways."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import httpx2
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from app.traffic.simulated_lines import frame
from tests.browser.conftest import wait_for_frame
from tests.browser.pictures import incident
from tests.support.processes import ServiceProcess
from tests.support.traffic import hour, send

PHONE, ZOOMED, DESKTOP, WIDE = 390, 720, 1440, 2560
LONG_NAME = "billing-of-europe-production"
PAGES = (
    "/",
    "/?app=no-such-app",
    f"/apps/{LONG_NAME}",
    f"/apps/{LONG_NAME}?start=now-3h&end=now-2h&process_type=web&compare=week",
    f"/apps/{LONG_NAME}/remove",
    "/apps/shop?range=7d",
    "/apps/fleet?split=dynos",
    "/apps/nobody",
    "/alerts",
    "/add",
    "/docs",
    "/readyz",
    "/nowhere",
)
TOKEN = "a-token-of-the-admin"


@pytest.fixture(scope="module")
def incident_url(url: str) -> Iterator[str]:
    """The address of the service, which also has an app with a long name that is down."""
    broken_s = time.time() - 900
    lines = hour(LONG_NAME, 5, until_s=broken_s, seconds=1800)
    config = frame(190, broken_s - 52, "app", "api", "Set STRIPE_KEY config vars by user a@b.c")
    send(url, LONG_NAME, [*lines, config, *incident(broken_s, time.time())])
    yield url
    address = f"{url}/api/v1/apps/{LONG_NAME}?confirm={LONG_NAME}"
    assert httpx2.delete(address, trust_env=False, timeout=30).status_code == 200


@pytest.fixture
def page(browser: Browser, incident_url: str) -> Iterator[Page]:
    """A page on a phone."""
    context = browser.new_context(base_url=incident_url)
    page = context.new_page()
    resize(page, PHONE)
    yield page
    context.close()


def resize(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    wait_for_frame(page)


def check_fits(page: Page) -> None:
    """No page is wider than its window, and no text outside a scrolling region is cut."""
    for width in (PHONE, ZOOMED, DESKTOP, WIDE):
        resize(page, width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(_CUT_TEXTS) == [], width


_CUT_TEXTS = """() => {
    const isCut = (element) => {
        const style = getComputedStyle(element);
        const box = element.getBoundingClientRect();
        const isShown = box.width > 1 && element.checkVisibility({ visibilityProperty: true });
        const isWide = element.scrollWidth > element.clientWidth + 1;
        const isClipped = isWide && style.overflowX === "hidden";
        const isOutside = box.right > innerWidth + 1 && !element.closest(".wide, .skip");
        return isShown && (isClipped || isOutside);
    };
    const texts = [...document.querySelectorAll("body *:not(svg, svg *, option, .times summary)")];
    return texts.filter(isCut).map((element) => element.outerHTML.slice(0, 200));
}"""


@pytest.mark.parametrize("path", PAGES)
def test_no_page_is_wider_than_its_window(page: Page, path: str) -> None:
    page.goto(path)
    check_fits(page)


def test_signing_in_and_first_steps_fit_any_window(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    service = ServiceProcess(tmp_path_factory.mktemp("token"), DYNOMETER_ADMIN_TOKEN=TOKEN)
    service.start()
    page = browser.new_page(base_url=service.url)
    try:
        page.goto("/")
        check_fits(page)
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("Waiting for the first log line")
        check_fits(page)
    finally:
        page.close()
        service.stop()


def rows(controls: Locator) -> int:
    """How many rows the visible controls take: controls whose middles differ by little are one."""
    boxes = [control.bounding_box() for control in controls.all() if control.is_visible()]
    middles = sorted(box["y"] + box["height"] / 2 for box in boxes if box is not None)
    return 1 + sum(after - before > 12 for before, after in pairwise(middles))


@pytest.mark.parametrize("width", [PHONE, ZOOMED, DESKTOP, WIDE])
def test_the_header_takes_one_row(page: Page, width: int) -> None:
    resize(page, width)
    page.goto("/")
    assert rows(page.locator("header a, header summary")) == 1


@pytest.mark.parametrize("width", [PHONE, ZOOMED])
@pytest.mark.parametrize("query", ["", "?start=now-3h&end=now-2h&process_type=web"])
def test_the_bar_of_an_app_takes_at_most_three_rows_of_a_narrow_window(
    page: Page, width: int, query: str
) -> None:
    resize(page, width)
    page.goto(f"/apps/shop{query}")
    assert rows(page.locator(".controls a, .controls button, .controls summary")) <= 3
    expect(page.get_by_label("compare with")).to_be_hidden()


def test_on_a_phone_a_menu_holds_the_other_pages(page: Page) -> None:
    page.goto("/")
    link = page.get_by_role("link", name="Add apps")
    expect(link).to_be_hidden()
    page.locator("summary", has_text="Menu").click()
    expect(link).to_be_visible()
    page.keyboard.press("Escape")
    expect(link).to_be_hidden()
    page.locator("summary", has_text="Menu").click()
    link.click()
    page.wait_for_url("**/add")


@pytest.mark.parametrize("has_scripts", [True, pytest.param(False, marks=pytest.mark.chromium)])
def test_on_a_phone_filters_are_behind_a_button_with_and_without_scripts(
    browser: Browser, incident_url: str, has_scripts: bool
) -> None:
    context = browser.new_context(
        base_url=incident_url,
        viewport={"width": PHONE, "height": 844},
        java_script_enabled=has_scripts,
    )
    page = context.new_page()
    page.goto("/apps/shop")
    filters = page.locator(".filters > summary")
    expect(filters).to_have_text("Filters")
    filters.click()
    page.get_by_label("compare with").select_option("week")
    if not has_scripts:
        page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**compare=week**")
    expect(page.locator(".filters > summary")).to_have_text("Filters 1")
    context.close()


def test_on_a_wide_window_filters_need_no_click(page: Page) -> None:
    resize(page, DESKTOP)
    page.goto("/apps/shop")
    expect(page.locator(".filters > summary")).to_be_hidden()
    page.get_by_label("compare with").select_option("week")
    page.wait_for_url("**compare=week**")
