"""The charts in a real browser: their values are the API's, and mouse and keyboard work."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from app.traffic.simulated_lines import frame

RESPONSE, REQUESTS, MEMORY = (f"[data-chart={key}]" for key in ("response", "requests", "memory"))
FACTORS = {"%": 100, "MB": 2**-20}  # from the API's unit to the chart's
OF_OTHER_METRICS = {"other codes", "web RSS", "web swap", "worker RSS", "worker swap"}


def open_page(page: Page, path: str = "/apps/shop") -> Page:
    page.goto(path)
    page.wait_for_function("() => document.documentElement.dataset.charts === 'drawn'")
    return page


def script_data(page: Page) -> dict[str, Any]:
    """The values that the page's script draws."""
    values: dict[str, Any] = json.loads(page.locator("#for-charts").text_content() or "")
    return values


def at(page: Page, chart: str, x: float, y: float = 0.5) -> tuple[float, float]:
    """A point in a chart, as shares of its width and height, in pixels of the page."""
    over = page.locator(f"{chart} .u-over")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    assert box is not None
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def point_at(page: Page, chart: str, x: float) -> None:
    page.mouse.move(*at(page, chart, x))


def legend(page: Page, chart: str) -> dict[str, str]:
    """The legend: names and values."""
    items = page.locator(f"{chart} [data-line]")
    return dict(item.split("\n", 1) for item in _texts(items))


def _texts(items: Locator) -> list[str]:
    return [
        f"{item.get_attribute('data-line')}\n{item.locator('b').inner_text()}"
        for item in items.all()
    ]


def line_name(key: str, result: dict[str, Any], stats: int) -> str:
    """The name in the chart of a series of the API."""
    label = result["labels"].get("attachment") or "".join(result["labels"].values())
    if not label:
        return str(result["stat"])
    return f"{label} max" if key == "load" and stats > 1 and result["stat"] == "max" else label


@pytest.mark.parametrize("path", ["/apps/shop", "/apps/shop?process_type=web&range=6h"])
def test_charts_draw_the_values_of_the_api(page: Page, url: str, path: str) -> None:
    open_page(page, path)
    data = script_data(page)
    for chart in data["charts"]:
        if chart["kind"] == "bands" or chart["key"] in ("requests", "failed", "redis-evicted"):
            continue  # made of several answers, or a minute's share of one
        href = page.locator(f"[data-chart={chart['key']}] .menu a").first.get_attribute("href")
        answer = httpx2.get(f"{url}{href}", trust_env=False).json()
        stats = {result["stat"] for result in answer["series"]}
        series = {
            line_name(chart["key"], result, len(stats)): result["values"]
            for result in answer["series"]
        }
        factor = FACTORS.get(chart["unit"], 1)
        for line in chart["lines"]:
            name = line["name"].removesuffix(", tables")
            if name not in OF_OTHER_METRICS and not name.endswith(", indexes"):
                values = [v if v is None else round(v * factor, 3) for v in series[name]]
                assert line["values"][:-2] == values[:-2], (chart["key"], name)


def test_the_crosshair_is_read_in_every_legend_and_beside_the_pointer(page: Page) -> None:
    open_page(page)
    charts = {chart["key"]: chart for chart in script_data(page)["charts"]}
    point_at(page, REQUESTS, 0.502)
    index = script_data(page)["size"] // 2
    tip = page.locator("#tip.shown")
    expect(tip).to_contain_text(" UTC")
    statuses = charts["requests"]["notes"][index]
    assert "200 " in statuses
    expect(tip).to_contain_text(statuses)
    for key in ("response", "memory", "errors"):
        for line in charts[key]["lines"]:
            value = line["values"][index]
            text = legend(page, f"[data-chart={key}]")[line["name"]].replace(",", "")
            if value is None:
                assert text == "–"
            else:
                assert float(text.split()[0]) == pytest.approx(value, abs=0.51)
    page.mouse.move(5, 5)
    expect(page.locator("#tip.shown")).to_have_count(0)


def test_the_crosshair_is_moved_by_the_keyboard(page: Page) -> None:
    open_page(page)
    page.locator(f"{MEMORY} .uplot").focus()
    page.keyboard.press("Home")
    expect(page.locator("#tip.shown")).to_contain_text("web")
    first = page.locator("#tip .at").inner_text()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tip .at")).not_to_have_text(first)
    page.keyboard.press("Tab")
    expect(page.locator("#tip.shown")).to_have_count(0)


def test_dragging_zooms_the_whole_page_and_back_goes_back(page: Page) -> None:
    open_page(page)
    range_before = page.locator(".controls .span").inner_text()
    page.mouse.move(*at(page, RESPONSE, 0.4))
    page.mouse.down()
    page.mouse.move(*at(page, RESPONSE, 0.7), steps=4)
    page.mouse.up()
    page.wait_for_url("**/apps/shop?start=*&end=*")
    expect(page.locator(".controls .span")).not_to_have_text(range_before)
    data = script_data(page)
    assert 15 <= data["size"] <= 22
    assert data["step"] == 60
    assert page.locator(".u-select").first.bounding_box() is not None
    page.go_back()
    expect(page.locator(".controls .span")).to_contain_text(range_before[:6])
    page.wait_for_function("() => JSON.parse(document.querySelector('#for-charts').text).size > 50")
    page.go_forward()
    page.get_by_role("link", name="Back to now").click()
    page.wait_for_url("**/apps/shop")


@pytest.mark.chromium
def test_a_name_in_the_legend_hides_its_line_and_isolates_it(page: Page) -> None:
    open_page(page)

    def pressed() -> dict[str, bool]:
        buttons = page.locator(f"{RESPONSE} [data-line] button").all()
        return {
            button.inner_text(): button.get_attribute("aria-pressed") == "true"
            for button in buttons
        }

    page.locator(f"{RESPONSE} button", has_text="p99").click()
    assert pressed() == {"p50": True, "p95": True, "p99": False, "max": True}
    page.locator(f"{RESPONSE} button", has_text="p50").click(modifiers=["Shift"])
    assert pressed() == {"p50": True, "p95": False, "p99": False, "max": False}
    point_at(page, RESPONSE, 0.5)
    expect(page.locator("#tip.shown")).not_to_contain_text("p95")
    page.locator(f"{RESPONSE} button", has_text="p50").dblclick()
    assert all(pressed().values())


def test_one_filter_holds_for_the_whole_page(page: Page, url: str) -> None:
    open_page(page)
    page.get_by_label("dyno", exact=True).select_option("web.2")
    page.wait_for_url("**dyno=web.2**")
    expect(page.locator(f"{RESPONSE} [data-line]")).to_have_count(2)
    expect(page.locator("table.dynos tbody tr")).to_have_count(1)
    shown = script_data(page)
    end_s = shown["start"] + shown["step"] * shown["size"]
    query = f"metric=requests&dyno=web.2&step=range&start={shown['start']}&end={end_s}"
    answer = httpx2.get(f"{url}/api/v1/apps/shop/query?{query}", trust_env=False).json()
    cell = page.locator("table.dynos tbody td:nth-of-type(6)").inner_text()
    assert int(cell.replace(",", "")) == pytest.approx(answer["series"][0]["values"][0], rel=0.02)
    page.get_by_role("link", name="Show all of shop").click()
    expect(page.locator("table.dynos tbody tr").nth(3)).to_be_visible()


def test_the_scale_is_chosen_and_stays_in_the_address(page: Page) -> None:
    open_page(page)
    log = "() => JSON.parse(document.querySelector('#for-charts').text).charts[3].log"
    assert not page.evaluate(log)
    page.get_by_role("link", name="Log", exact=True).click()
    page.wait_for_url("**scale=log**")
    page.wait_for_function(log)
    assert page.evaluate("document.activeElement.textContent") == "Log"


_TIME_OR_SPAN = """all => all.map((time) => {
    const isBegin = time.nextSibling?.textContent === " to "; // 22 Nov 10:00 to 11:00 UTC
    return time.textContent + (isBegin ? time.nextElementSibling.textContent : "");
})"""


def test_times_are_utc_and_pointing_at_one_shows_the_readers(page: Page) -> None:
    open_page(page)
    times = page.locator("time")
    texts = times.evaluate_all(_TIME_OR_SPAN)
    assert all(text.endswith(" UTC") for text in texts)
    clock = page.locator("time[data-form=clock]").first
    clock.hover()
    text, title = clock.inner_text(), str(clock.get_attribute("title"))
    assert title.endswith(" in Asia/Kolkata") or title.endswith(" in Asia/Calcutta")
    assert title[3:5] == f"{(int(text[14:16]) + 30) % 60:02d}"


def menu(page: Page, chart: str, name: str) -> Locator:
    page.locator(f"{chart} .menu summary").click()
    return page.locator(f"{chart} .menu").get_by_text(name, exact=True)


@pytest.mark.chromium
def test_a_chart_is_exported(page: Page, tmp_path: Path) -> None:
    open_page(page)
    menu(page, RESPONSE, "Copy as curl").click()
    page.get_by_text("Copied").wait_for()
    call = page.evaluate("navigator.clipboard.readText()")
    process = subprocess.run(["sh", "-c", call], capture_output=True, check=True, timeout=20)
    assert json.loads(process.stdout)["metric"] == "service_time_ms"
    page.keyboard.press("Escape")

    menu(page, RESPONSE, "Copy as PromQL").click()
    expression = page.evaluate("navigator.clipboard.readText()")
    assert expression.startswith("histogram_quantile(0.95, sum by (le) (rate(")
    page.keyboard.press("Escape")

    with page.expect_download() as downloading:
        menu(page, RESPONSE, "PNG").click()
    downloading.value.save_as(tmp_path / "image")
    assert (tmp_path / "image").read_bytes().startswith(b"\x89PNG")
    assert downloading.value.suggested_filename == "shop-response.png"
    page.keyboard.press("Escape")

    href = menu(page, RESPONSE, "CSV").get_attribute("href")
    assert page.request.get(str(href)).text().startswith("time,p50,p95,p99,max,complete\n")


def test_new_points_are_drawn_into_the_charts_that_are_there(page: Page, url: str) -> None:
    page.clock.install()
    open_page(page, "/apps/blog")
    page.evaluate("window.canvas = document.querySelector('[data-chart=response] canvas')")
    page.locator(f"{RESPONSE} button", has_text="p50").click()
    line = 'method=GET path="/" host=h request_id=r fwd="192.0.2.1" dyno=web.1 connect=1ms '
    text = f"at=info {line}service=7ms status=200 bytes=9 protocol=https"
    body = b"".join(frame(158, time.time() - 90, "heroku", "router", text) for _ in range(1_000))
    assert httpx2.post(f"{url}/drain", content=body, auth=("blog", "any")).status_code == 200

    page.clock.run_for(21_000)

    page.wait_for_function(
        "() => Math.max(...JSON.parse(document.querySelector('#for-charts').text).charts[0]"
        ".lines[0].values) >= 1_000"
    )
    assert page.evaluate("window.canvas.isConnected")
    hidden = page.locator(f"{RESPONSE} button", has_text="p50")
    assert hidden.get_attribute("aria-pressed") == "false"


def test_a_hidden_page_sends_no_requests(page: Page) -> None:
    page.clock.install()
    open_page(page)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => true })")
    page.clock.run_for(120_000)
    assert requests == []


def test_scripts_and_styles_are_small(page: Page) -> None:
    sizes: list[int] = []
    page.on("response", lambda answer: sizes.append(int(answer.headers.get("content-length", 0))))
    open_page(page)
    page.wait_for_load_state("networkidle")
    assert len(sizes) > 10
    assert sum(sizes) < 120_000
