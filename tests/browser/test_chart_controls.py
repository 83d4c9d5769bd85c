"""Places, labels, zoom, events and dynos of charts, by mouse and keyboard, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import FLEET_DYNOS, SLOW_DYNO, wait_for_frame
from tests.browser.test_charts import RESPONSE, at, open_page, point_at, script_data

ALL_CHARTS = ["requests", "failed", "errors", "response", "spread", "memory", "load", "dynos"]
REQUESTS, SPREAD = "[data-chart=requests]", "[data-chart=spread]"

# Keeps the text of each axis label with its left and right edge, and the width of its canvas.
RECORD_LABELS = """
    window.labels = [];
    const fillText = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
        const at = this.getTransform().transformPoint({ x, y });
        const width = this.measureText(text).width;
        const left = at.x - { center: width / 2, right: width, end: width }[this.textAlign] || at.x;
        window.labels.push([text, left, left + width, Math.round(at.y), this.canvas.width]);
        return fillText.call(this, text, x, y);
    };
"""
PIXELS_OF = """([chart, name]) => {
    const color = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
    const canvas = document.querySelector(`${chart} canvas`);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let at = 0; at < data.length; at += 4) {
        count += data[at] === red && data[at + 1] === green && data[at + 2] === blue;
    }
    return count;
}"""


def chart_lefts(page: Page) -> dict[str, float]:
    boxes = {key: page.locator(f"[data-chart={key}]").bounding_box() for key in ALL_CHARTS}
    return {key: box["x"] for key, box in boxes.items() if box}


@pytest.mark.parametrize(("width", "columns"), [(390, 1), (1440, 2), (1600, 3), (2560, 4)])
def test_charts_use_the_width_and_keep_their_places(page: Page, width: int, columns: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    open_page(page)
    places = chart_lefts(page)
    assert len(set(places.values())) == columns
    wait_for_frame(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    open_page(page, "/apps/hooks")  # has no errors, memory nor load
    assert chart_lefts(page) == places
    expect(page.locator("[data-chart=errors] .empty")).to_have_text(
        "No Heroku errors in this range."
    )


@pytest.mark.parametrize("name", ["1h", "6h", "24h", "7d", "30d", "90d"])
def test_labels_of_axes_are_whole_and_never_repeat(page: Page, name: str) -> None:
    page.add_init_script(RECORD_LABELS)
    open_page(page, f"/apps/shop?range={name}")
    page.evaluate("window.labels.length = 0")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.wait_for_function("() => window.labels.length > 40")
    labels: list[Any] = [label for label in page.evaluate("window.labels") if label[0]]
    for text, left, right, _, width in labels:
        assert left >= -1, (text, left)
        assert right <= width + 1, (text, right, width)
    charts = script_data(page)["charts"]
    assert {chart["key"] for chart in charts} >= set(ALL_CHARTS)


def test_a_value_without_neighbours_is_a_point_that_can_be_seen(page: Page) -> None:
    open_page(page, "/apps/hooks")
    assert page.evaluate(PIXELS_OF, [RESPONSE, "max"]) >= 9
    assert page.evaluate(PIXELS_OF, [REQUESTS, "calm"]) >= 100


def test_a_legend_tells_figures_of_the_range_and_values_at_the_pointer(page: Page) -> None:
    open_page(page)
    item = page.locator(f"{RESPONSE} [data-line=p95]")
    caption = page.locator(f"{RESPONSE} [data-summary]")
    expect(caption).to_have_text("whole range / max")
    before = item.inner_text()
    data = script_data(page)
    complete = (data["complete_until"] - data["start"]) // data["step"]
    line = next(line for line in data["charts"][3]["lines"] if line["name"] == "p95")
    highest = max(value for value in line["values"][:complete] if value is not None)
    assert f"/ {highest:,.0f}" in before
    point_at(page, RESPONSE, 0.5)
    expect(caption).to_contain_text(" UTC")
    page.mouse.move(5, 5)
    expect(item).to_have_text(before.replace("\n", " "), use_inner_text=True)


def test_a_zoom_leaves_nothing_behind_on_other_charts(page: Page) -> None:
    open_page(page)
    page.mouse.move(*at(page, RESPONSE, 0.4))
    page.mouse.down()
    page.mouse.move(*at(page, RESPONSE, 0.7), steps=4)
    page.mouse.up()
    page.wait_for_url("**start=*&end=*")
    page.mouse.move(5, 5)
    widths = "all => all.map((each) => each.getBoundingClientRect().width)"
    assert set(page.locator(".u-select").evaluate_all(widths)) == {0}
    crosshairs = "all => all.map((each) => each.style.transform)"
    assert all("-10px" in each for each in page.locator(".u-cursor-x").evaluate_all(crosshairs))


def test_the_keyboard_zooms_and_zooms_out(page: Page) -> None:
    open_page(page)
    page.locator(f"{RESPONSE} .uplot").focus()
    for key in ("Home", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    for _ in range(9):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_url("**start=*&end=*")
    page.wait_for_function(
        "() => JSON.parse(document.querySelector('#for-charts').text).size === 10"
    )
    assert page.evaluate("document.activeElement.className").startswith("uplot")
    page.keyboard.press("-")
    page.wait_for_function(
        "() => JSON.parse(document.querySelector('#for-charts').text).size === 20"
    )


def test_escape_gives_up_a_selection(page: Page) -> None:
    open_page(page)
    page.locator(f"{RESPONSE} .uplot").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    select = page.locator(f"{RESPONSE} .u-select")
    assert select.evaluate("each => each.getBoundingClientRect().width") > 100
    page.keyboard.press("Escape")
    assert select.evaluate("each => each.getBoundingClientRect().width") == 0
    page.keyboard.press("Enter")
    assert page.url.endswith("/apps/shop")


def test_a_skip_link_leads_to_the_charts(page: Page) -> None:
    open_page(page)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the charts"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("Boolean(document.activeElement.closest('#charts'))")


def test_a_range_changes_without_a_reload_and_keeps_focus(page: Page) -> None:
    open_page(page)
    page.evaluate("window.here = true")
    page.get_by_role("link", name="6h", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator("[aria-current=page]")).to_have_text("6h")
    assert page.evaluate("window.here")
    assert page.evaluate("document.activeElement.textContent") == "6h"
    page.go_back()
    expect(page.locator("[aria-current=page]")).to_have_text("1h")


def test_arrow_keys_pass_over_choices_and_enter_takes_one(page: Page) -> None:
    open_page(page)
    choice = page.get_by_label("dyno", exact=True)
    choice.focus()
    while choice.input_value() != "web.2":
        page.keyboard.press("ArrowDown")
    assert "dyno=" not in page.url
    page.keyboard.press("Enter")
    page.wait_for_url("**dyno=web.2")
    expect(page.locator("table.dynos tbody tr")).to_have_count(1)
    assert page.evaluate("document.activeElement.id") == "choose-dyno"


def test_sorting_does_not_scroll_and_a_second_click_reverses(page: Page) -> None:
    open_page(page)
    link = page.locator("table.dynos thead").get_by_role("link", name="load")
    link.scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    assert before > 0
    link.click()
    expect(page.locator("table.dynos th[aria-sort=descending]")).to_have_text("load")
    assert page.evaluate("scrollY") == pytest.approx(before, abs=2)
    link.click()
    expect(page.locator("table.dynos th[aria-sort=ascending]")).to_have_text("load")
    cells = page.locator("table.dynos tbody td:nth-of-type(5)").all_inner_texts()
    loads = [float(text.split()[0]) for text in cells if text != "–"]
    assert len(loads) > 2
    assert loads == sorted(loads)
    assert page.evaluate("scrollY") == pytest.approx(before, abs=2)


def test_many_dynos_are_cells_colored_by_the_chosen_metric(page: Page) -> None:
    open_page(page, "/apps/fleet")
    cells = page.locator(".cells li")
    expect(cells).to_have_count(FLEET_DYNOS)
    expect(cells.first).to_contain_text(f"web.{FLEET_DYNOS}")  # the fullest
    page.get_by_role("link", name="avg ms").first.click()
    expect(cells.first).to_contain_text(SLOW_DYNO)
    expect(cells.first.locator("a")).to_have_class("h9 outlier")
    expect(page.locator("table.dynos")).to_be_hidden()
    page.get_by_text("The same as a table").click()
    outlier = page.locator("table.dynos td.outlier").first
    assert " × the median of web" in str(outlier.get_attribute("title"))
    cells.first.locator("a").click()
    page.wait_for_url(f"**dyno={SLOW_DYNO}**")


def test_memory_has_a_line_for_each_dyno_on_demand(page: Page) -> None:
    open_page(page, "/apps/shop")
    memory = page.locator("[data-chart=memory]")
    expect(memory.locator(".quota")).to_contain_text("quota 512 MB")
    memory.get_by_role("link", name="Dynos").click()
    page.wait_for_url("**split=dynos**")
    expect(memory.locator("[data-line='web.1']")).to_be_visible()
    expect(memory.locator("canvas")).to_be_visible()


def test_the_heatmap_tells_numbers_at_the_pointer(page: Page) -> None:
    open_page(page)
    bands = script_data(page)["charts"][4]["bands"]
    assert page.locator(f"{SPREAD} .legend").inner_text().startswith("requests per cell: 1")
    column = bands["counts"][len(bands["counts"]) // 2]
    page.mouse.move(*at(page, SPREAD, 0.502, 0.6))
    tip = page.locator("#tip.shown")
    expect(tip).to_contain_text(f"{sum(column):,} requests")
    expect(tip).to_contain_text("ms and slower")


def test_the_lane_groups_crashes_and_never_hides_a_release(page: Page) -> None:
    open_page(page, "/apps/fleet")
    expect(page.locator(".track.dynos .icon.crash text")).to_have_text("×8")
    point_at(page, REQUESTS, 0.5)
    page.locator(".track.dynos .icon.crash").hover()
    expect(page.locator("#tip.shown")).to_contain_text("web.1 crashed (8 ×)")
    release = page.locator(".track.changes .icon.release")
    release.hover()
    expect(page.locator("#tip.shown")).to_contain_text("release v57")
    assert page.locator(f"{REQUESTS} [data-summary]").inner_text() != "mean / max"
    page.mouse.move(5, 5)
    expect(page.locator(f"{REQUESTS} [data-summary]")).to_have_text("mean / max")
    expect(page.locator("#tip.shown")).to_have_count(0)
    expect(page.locator(".events")).to_contain_text("crash × 8: web.1 crashed (8 ×)")


def test_the_refresh_follows_the_step(page: Page) -> None:
    page.clock.install()
    open_page(page, "/apps/shop?range=90d")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.clock.run_for(120_000)
    assert requests == []
    page.clock.run_for(200_000)
    page.wait_for_load_state("networkidle")
    assert len(requests) == 1


def test_a_second_visit_loads_no_static_file_again(page: Page) -> None:
    open_page(page)
    fetched: list[str] = []
    page.on(
        "response",
        lambda answer: None if answer.from_service_worker else fetched.append(answer.url),
    )
    page.goto("/apps/shop-eu")
    page.wait_for_load_state("networkidle")
    sizes = "performance.getEntriesByType('resource').map((each) => [each.name, each.transferSize])"
    transferred = [name for name, size in page.evaluate(sizes) if "/static/" in name and size]
    assert transferred == []
