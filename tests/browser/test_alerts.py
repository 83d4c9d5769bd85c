"""Alerts in a real browser: their track over the charts, and acknowledging them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.alerting.state import Alert, AppAlerts, HistoryEntry, pack_app_alerts, pack_json
from app.storage import embedded
from app.storage.connect import connect
from app.storage.interface.alerts import AlertChange, AlertTable
from tests.support.processes import ServiceProcess

APP = "shop-eu"
SUMMARY = "Slow since a while: p95 of answered requests is 3.1 s, 9.0 × the usual 340 ms."
FIRED_AGO_S, RESOLVED_AGO_S = 2400, 1200
FAILING = "Failing: 9 % of requests end with H12 (request timeout)."


async def write(data_dir: Path, state: AppAlerts, *entries: HistoryEntry) -> None:
    """Store alerts as the worker that evaluates rules does."""
    store = connect(embedded.find_running(data_dir) or "")
    await store.change_alerts(
        [AlertChange(AlertTable.STATES, APP, pack_app_alerts(state))],
        history={APP: [pack_json(entry) for entry in entries]},
    )
    await store.close()


@pytest.fixture(autouse=True)  # for each test: the service evaluates alerts every minute
def alerts(service: ServiceProcess) -> Iterator[float]:
    """An alert fired and resolved; another one fires. Yields the time from which ages count."""
    now_s = time.time()
    fired, resolved = (
        HistoryEntry(int(now_s - ago_s), what, SUMMARY, rule="slow", told=True)  # type: ignore[arg-type]
        for ago_s, what in ((FIRED_AGO_S, "fired"), (RESOLVED_AGO_S, "resolved"))
    )
    failing = Alert(
        "requests-fail", "web", "firing", int(now_s) - 300, is_notified=True, summary=FAILING
    )
    data_dir = Path(service.environ["DYNOMETER_DATA_DIR"])
    state = AppAlerts(int(now_s) // 60 * 60, alerts=(failing,))
    with ThreadPoolExecutor() as threads:  # an event loop beside playwright's
        threads.submit(asyncio.run, write(data_dir, state, fired, resolved)).result()
        yield now_s
        threads.submit(asyncio.run, write(data_dir, AppAlerts(0))).result()


def test_the_track_of_alerts_shows_when_one_fired_and_resolved(page: Page, alerts: float) -> None:
    page.goto(f"/apps/{APP}")
    page.locator("html[data-charts=drawn]").wait_for()
    track = page.locator(".track.alerts")
    lane = track.locator("svg").first.bounding_box()
    assert lane is not None
    for kind, ago_s, text in (
        ("alert", FIRED_AGO_S, f"alert: {SUMMARY}"),
        ("resolved", RESOLVED_AGO_S, f"resolved: {SUMMARY}"),
    ):
        icon = track.locator(f".icon.{kind}").first  # the service may resolve the other alert
        icon.hover()
        tip = page.locator("#tip.shown")
        expect(tip).to_contain_text(text)
        expect(tip).to_contain_text(time.strftime("%H:%M:%S UTC", time.gmtime(alerts - ago_s)))
        box = icon.locator("path").bounding_box()
        assert box is not None
        share = (box["x"] + box["width"] / 2 - lane["x"]) / lane["width"]
        assert abs(share - (1 - ago_s / 3600)) < 0.05
        legend = page.locator("[data-chart=requests] [data-summary]")
        expect(legend).not_to_have_text("mean / max")  # the crosshair is at its time
    assert page.locator(".track.changes .icon.alert, .track.dynos .icon.alert").count() == 0
    expect(page.locator(".events").first).to_contain_text(SUMMARY)


def test_alerts_are_acknowledged_in_the_list_and_others_see_by_whom(page: Page) -> None:
    page.goto(f"/?app={APP}")
    page.get_by_label("Your name").fill("Kim")
    page.get_by_role("button", name=f"Acknowledge the alerts of {APP}").click()
    page.wait_for_url(f"**/?app={APP}")
    expect(page.locator(f"tr[data-app={APP}] .tag")).to_contain_text("acknowledged by Kim")
    page.goto(f"/apps/{APP}")
    expect(page.locator("#alerts")).to_contain_text("acknowledged by Kim")
    page.locator("html[data-charts=drawn]").wait_for()
    page.locator(".track.alerts .icon.mute").last.hover()  # other tests mute apps, too
    expect(page.locator("#tip.shown")).to_contain_text("acknowledged by Kim")
    page.goto("/alerts")
    expect(page.locator(".firing")).to_contain_text("acknowledged by Kim")
    expect(page.get_by_label("Your name")).to_have_value("Kim")
    page.get_by_role("button", name=f"Withdraw the acknowledgement of {APP}").click()
    expect(page.locator(".history").first).to_contain_text("acknowledgement withdrawn")
    expect(page.get_by_role("button", name=f"Acknowledge the alerts of {APP}")).to_be_visible()
