"""/metrics is exact, folded or not; counters never fall, and silent dynos disappear."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator

import httpx2
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from app.monitoring.exposition import BLOCK_BYTES, in_blocks
from app.storage.interface.store import Store
from tests.support.lines import AT_S, frame, load, lost, memory, router
from tests.support.servers import find_program
from tests.support.service import Clock, client_of, post

Samples = dict[tuple[str, ...], float]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(store: Store, clock: Clock) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(store, clock, DYNOMETER_FOLD_BATCHES="2") as client:
        yield client


async def scrape(client: httpx2.AsyncClient, query: str = "") -> Samples:
    """Scrape /metrics: values by (name, label=value, …)."""
    answer = await client.get(f"/metrics{query}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): (
            sample.value
        )
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def select_samples(samples: Samples, name: str) -> Samples:
    return {key[1:]: value for key, value in samples.items() if key[0] == name}


BODY = (
    b"".join(router(AT_S, service=f"{ms}ms") for ms in (5, 6, 500, 501, 30_000))
    + router(AT_S, status="101", service="900000ms")
    + router(AT_S, dyno="", status="503", service="", head='at=error code=H10 desc="x"')
    + memory(AT_S, total="256.00")
    + load(AT_S, dyno="worker.1", load_1m="1.25")
    + frame("Error R14 (Memory quota exceeded)", at_s=AT_S)
    + lost(3, AT_S)
)


async def test_posted_lines_are_exported(client: httpx2.AsyncClient) -> None:
    await post(client, BODY)
    samples = await scrape(client)
    assert select_samples(samples, "heroku_router_requests_total") == {
        ("app=shop", "process_type=web", "status=101"): 1,
        ("app=shop", "process_type=web", "status=200"): 5,
        ("app=shop", "process_type=web", "status=404"): 0,
        ("app=shop", "process_type=web", "status=500"): 0,
        ("app=shop", "process_type=web", "status=503"): 1,
    }
    web_1 = ("app=shop", "dyno=web.1", "process_type=web")
    worker_1 = ("app=shop", "dyno=worker.1", "process_type=worker")
    assert select_samples(samples, "heroku_dyno_memory_total_bytes") == {web_1: 256 * 2**20}
    assert select_samples(samples, "heroku_dyno_load_avg_1m") == {worker_1: 1.25}
    assert select_samples(samples, "heroku_dynos") == {
        ("app=shop", "process_type=web"): 1,
        ("app=shop", "process_type=worker"): 1,
    }
    assert select_samples(samples, "heroku_app_last_seen_timestamp_seconds") == {
        ("app=shop",): AT_S
    }


async def test_histograms_are_exact_at_their_bounds_in_seconds(client: httpx2.AsyncClient) -> None:
    await post(client, BODY)
    samples = await scrape(client)
    buckets = {
        key[1].removeprefix("le="): value
        for key, value in select_samples(
            samples, "heroku_router_service_time_seconds_bucket"
        ).items()
        if "outcome=ok" in key
    }
    assert len(buckets) == 16
    assert [buckets[bound] for bound in ("0.005", "0.01", "0.25", "0.5", "0.75", "10.0")] == [
        1, 2, 2, 3, 4, 4,
    ]  # fmt: skip
    assert buckets["30.0"] == buckets["+Inf"] == 5
    [total] = select_samples(samples, "heroku_router_service_time_seconds_sum").values()
    assert total == pytest.approx(31.012)


async def test_possible_codes_are_exported_at_0(client: httpx2.AsyncClient) -> None:
    await post(client, BODY)
    errors = select_samples(await scrape(client), "heroku_errors_total")
    assert {key: value for key, value in errors.items() if value} == {
        ("app=shop", "code=H10", "process_type=web"): 1,
        ("app=shop", "code=L10", "process_type="): 1,
        ("app=shop", "code=R14", "process_type=web"): 1,
    }
    for code in ("H12", "H33", "H34", "H80"):
        assert errors["app=shop", f"code={code}", "process_type=web"] == 0
    assert errors["app=shop", "code=R15", "process_type=worker"] == 0
    assert ("app=shop", "code=H12", "process_type=worker") not in errors


async def test_counters_are_the_same_folded_or_not_and_never_fall(
    client: httpx2.AsyncClient, clock: Clock
) -> None:
    before: Samples = {}
    for number in range(1, 12):
        await post(client, BODY)
        clock.now_s += 1
        samples = await scrape(client)
        requests = select_samples(samples, "heroku_router_requests_total")
        assert sum(requests.values()) == 7 * number
        counters = {
            key: value
            for key, value in samples.items()
            if key[0].endswith(("_total", "_bucket", "_count", "_sum"))
        }
        for key, value in before.items():
            assert counters[key] >= value, key
        before = counters


async def test_a_dyno_silent_for_five_minutes_disappears(
    client: httpx2.AsyncClient, clock: Clock
) -> None:
    await post(client, BODY)
    clock.now_s += 240
    assert select_samples(await scrape(client), "heroku_dyno_memory_total_bytes")
    clock.now_s += 180
    samples = await scrape(client)
    assert not select_samples(samples, "heroku_dyno_memory_total_bytes")
    assert not select_samples(samples, "heroku_dynos")
    assert select_samples(samples, "heroku_router_requests_total")


async def test_the_ledger_is_exported(client: httpx2.AsyncClient) -> None:
    await post(client, lost(3, AT_S) + router(AT_S) + b"junk", Logplex_Msg_Count="3")
    ledger = select_samples(await scrape(client), "dynometer_messages_total")
    assert ledger["app=shop", "result=promised"] == 3
    assert ledger["app=shop", "result=received"] == 3
    assert ledger["app=shop", "result=unparsed:frame"] == 1
    assert ledger["app=shop", "result=lost_upstream"] == 3


async def test_the_results_of_messages_add_up_to_those_received(
    client: httpx2.AsyncClient,
) -> None:
    lines = router(AT_S) + frame("hello", app_name="app") + router(AT_S, status="x") + b"junk"
    await post(client, lost(3, AT_S) + lines, Logplex_Msg_Count="4", Logplex_Frame_Id="1")
    await post(client, router(AT_S), Logplex_Msg_Count="1", Logplex_Frame_Id="1")
    samples = await scrape(client)
    results = select_samples(samples, "dynometer_message_results_total")
    assert results == {
        ("app=shop", "result=counted"): 2,
        ("app=shop", "result=ignored"): 1,
        ("app=shop", "reason=router", "result=unparsed"): 1,
        ("app=shop", "reason=frame", "result=unparsed"): 1,
        ("app=shop", "result=too_old"): 0,
        ("app=shop", "result=too_new"): 0,
    }
    whole = {
        key[0].removeprefix("dynometer_messages_").removesuffix("_total"): value
        for key, value in samples.items()
        if key[0].startswith("dynometer_messages_") and key[0] != "dynometer_messages_total"
    }
    assert whole.pop("received") == sum(results.values()) == 5
    assert whole == {
        "promised": 4,
        "duplicate": 1,
        "other_drain": 0,
        "lost_upstream": 3,
        "spooled": 0,
        "unverified": 0,
    }


async def test_the_series_that_mixed_results_says_what_replaces_it(
    client: httpx2.AsyncClient,
) -> None:
    await post(client, router(AT_S))
    text = (await client.get("/metrics")).text
    (line,) = [
        line for line in text.splitlines() if line.startswith("# HELP dynometer_messages_total ")
    ]
    assert "Deprecated" in line
    assert "dynometer_message_results_total" in line


async def test_a_scrape_can_be_limited_to_apps(client: httpx2.AsyncClient) -> None:
    for app in ("shop-eu", "shop-us", "blog"):
        await post(client, BODY, app=app)
    apps = {key[0] for key in select_samples(await scrape(client, "?app=shop-*"), "heroku_dynos")}
    assert apps == {"app=shop-eu", "app=shop-us"}


OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}


async def test_openmetrics_says_the_same(client: httpx2.AsyncClient) -> None:
    await post(client, BODY + frame("Release v7 created by x", app_name="app", procid="api"))
    plain = await scrape(client)
    answer = await client.get("/metrics", headers=OPENMETRICS)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    families = list(openmetrics.text_string_to_metric_families(answer.text))  # type: ignore[no-untyped-call]
    samples = {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): (
            sample.value
        )
        for family in families
        for sample in family.samples
    }
    changing = ("dynometer_store_used_bytes",)
    assert samples.keys() == plain.keys()
    assert samples | {changing: 0} == plain | {changing: 0}
    units = {family.name: family.unit for family in families}
    assert units["heroku_router_service_time_seconds"] == "seconds"
    assert units["heroku_dyno_memory_total_bytes"] == "bytes"


async def test_promtool_finds_no_problems(client: httpx2.AsyncClient) -> None:
    await post(client, BODY + frame("State changed from up to starting"))
    checker = await asyncio.create_subprocess_exec(
        *(find_program("promtool"), "check", "metrics"), stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    _, complaints = await checker.communicate((await client.get("/metrics")).content)
    assert (checker.returncode, complaints) == (0, b"")


async def test_a_large_exposition_is_compressed(client: httpx2.AsyncClient) -> None:
    await post(client, BODY)
    answer = await client.get("/metrics", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert {name.strip() for name in answer.headers["vary"].split(",")} == {
        "Accept",
        "Accept-Encoding",
    }


async def test_special_characters_in_codes_are_escaped(client: httpx2.AsyncClient) -> None:
    await post(client, router(status="503", head='at=error code=a"b\\c desc="x"'))
    answer = await client.get("/metrics")
    assert list(text_string_to_metric_families(answer.text))


async def test_other_tasks_run_between_blocks_of_a_large_exposition() -> None:
    texts = [f"line {number}\n".encode() * 1_000 for number in range(200)]
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(count_turns())
    blocks = [block async for block in in_blocks(texts)]
    task.cancel()
    assert b"".join(blocks) == b"".join(texts)
    assert turns >= 5
    assert all(len(block) < BLOCK_BYTES + max(map(len, texts)) for block in blocks)
