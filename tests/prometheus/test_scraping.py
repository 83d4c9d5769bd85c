"""A real Prometheus scrapes a real service, with what `dynometer prometheus-config` prints.

It scrapes every second. Of a scrape that takes longer nothing is known until the next one, so what
it has is waited for.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.rollup.sketch import PROMETHEUS_BOUNDS_MS
from app.traffic.simulated_lines import frame
from tests.support.monitoring import Prometheus, prometheus
from tests.support.processes import ROOT, ServiceProcess
from tests.support.servers import wait_until
from tests.support.traffic import hour, send

APPS = ("blog", "shop")
GRAFANA = ROOT / "deploy" / "grafana" / "dashboards"
VARIABLES = {"$__rate_interval": "4s", "$app": "shop", "$process_type": "web|worker"}
QUIET = {11, 15}  # panels that show nothing while nothing new happens
TARGET = "    static_configs:\n      - labels: {app: monitoring}\n        targets"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    service = ServiceProcess(tmp_path_factory.mktemp("service"))
    service.start()
    try:
        for number, app in enumerate(APPS):
            release = frame(190, time.time() - 600, "app", "api", "Release v7 created by user x")
            send(service.url, app, [*hour(app, number), release])
        yield service
    finally:
        service.stop()


def printed(service: ServiceProcess, *arguments: str) -> str:
    """What the command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "prometheus-config", *arguments],
        env=service.environ,
        cwd=service.directory,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture(scope="module")
def scraped(
    service: ServiceProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes it every second, whose target has a label `app` of its own."""
    config = printed(service).replace("scrape_interval: 20s", "scrape_interval: 1s")
    config = config.replace("    static_configs:\n      - targets", TARGET)
    assert TARGET in config
    rules = ROOT / "deploy" / "prometheus" / "dynometer.rules.yml"
    config = config.replace("/etc/prometheus/dynometer.rules.yml", str(rules))
    with prometheus(tmp_path_factory.mktemp("prometheus"), config) as server:
        wait_until(lambda: len(server.query("count_over_time(heroku_dynos[1m]) > 3")) > 2, 30)
        yield server


def ask(service: ServiceProcess, query: str) -> list[dict[str, Any]]:
    answer = httpx2.get(f"{service.url}/api/v1/apps/shop/query?{query}", trust_env=False).json()
    series: list[dict[str, Any]] = answer["series"]
    return series


def test_what_prometheus_has_is_what_the_api_answers(
    service: ServiceProcess, scraped: Prometheus
) -> None:
    last_seen = "heroku_app_last_seen_timestamp_seconds"
    wait_until(lambda: set(scraped.values(last_seen, "app")) == set(APPS), 30)
    for series, metric, label in (
        ("heroku_router_requests_total", "requests", "status"),
        ("heroku_errors_total", "heroku_errors", "code"),
    ):

        def agree(series: str = series, metric: str = metric, label: str = label) -> bool:
            theirs = scraped.values(f'sum by ({label}) ({series}{{app="shop"}}) > 0', label)
            ours = ask(service, f"metric={metric}&by={label}&start=now-2h&step=range")
            return theirs == {each["labels"][label]: each["values"][0] for each in ours}

        wait_until(agree, 30)


@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
def test_quantiles_agree_with_the_api_within_a_bucket(
    service: ServiceProcess, scraped: Prometheus, quantile: float
) -> None:
    buckets = 'sum by (le) (heroku_router_service_time_seconds_bucket{app="shop"})'
    asked = f"metric=service_time_ms&stat=p{quantile * 100:g}&start=now-2h&step=range"

    def agree() -> bool:
        theirs = scraped.query(f"histogram_quantile({quantile}, {buckets})")
        ours_ms = ask(service, asked)[0]["values"][0]
        bounds = (0, *PROMETHEUS_BOUNDS_MS)
        low_ms, high_ms = next(pair for pair in pairwise(bounds) if ours_ms <= pair[1])
        return any(low_ms <= float(each["value"][1]) * 1000 <= high_ms for each in theirs)

    wait_until(agree, 30)


def test_without_honor_labels_the_targets_label_takes_the_place_of_ours(
    service: ServiceProcess, tmp_path: Path
) -> None:
    config = printed(service).replace("scrape_interval: 20s", "scrape_interval: 1s")
    config = config.replace("    honor_labels: true\n", "")
    config = config.replace("    static_configs:\n      - targets", TARGET)
    config = re.sub(r"rule_files:\n.*\n", "", config)
    with prometheus(tmp_path, config) as server:

        def exported() -> bool:
            apps = [set(server.values("heroku_dynos", name)) for name in ("app", "exported_app")]
            return apps == [{"monitoring"}, set(APPS)]

        wait_until(exported, 30)


def test_a_scrape_can_be_limited_to_apps_and_their_own_checker_likes_the_job(
    service: ServiceProcess, tmp_path: Path
) -> None:
    config = printed(service, "--app", "sh*", "--app", "nothing")
    assert "app: ['sh*', 'nothing']" in config
    (tmp_path / "prometheus.yml").write_text(re.sub(r"rule_files:\n.*\n", "", config))
    command = ["promtool", "check", "config", "--syntax-only", str(tmp_path / "prometheus.yml")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    text = httpx2.get(f"{service.url}/metrics?app=sh*&app=nothing", trust_env=False).text
    assert set(re.findall(r'app="([^"]*)"', text)) == {"shop"}


def expressions(dashboard: Path) -> list[tuple[int, str]]:
    """(panel, expression) of a dashboard, with its variables filled in."""
    described = json.loads(dashboard.read_text())
    found = [(0, each["expr"]) for each in described["annotations"]["list"]]
    for panel in described["panels"]:
        found += [(panel["id"], each["expr"]) for each in panel["targets"]]
    filled = []
    for panel_id, expression in found:
        plain = expression.replace("[5m]", "[4s]")
        for name, value in VARIABLES.items():
            plain = plain.replace(name, value)
        filled.append((panel_id, plain))
    return filled


@pytest.mark.parametrize(("panel", "expression"), expressions(GRAFANA / "dynometer.json"))
def test_every_query_of_the_dashboard_is_answered(
    service: ServiceProcess, scraped: Prometheus, panel: int, expression: str
) -> None:
    def answered() -> bool:
        live = hour("shop", 7, seconds=2)
        send(service.url, "shop", live)
        found = scraped.query(expression)
        return any(each["value"][1] != "NaN" for each in found) or panel in QUIET

    wait_until(answered, 30)


def has_values(scraped: Prometheus, expression: str, label: str) -> bool:
    return bool(scraped.values(expression, label))


def test_the_dashboards_variables_have_values(scraped: Prometheus) -> None:
    described = json.loads((GRAFANA / "dynometer.json").read_text())
    for variable in described["templating"]["list"]:
        match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
        assert match is not None
        expression = match[1].replace("$app", "shop")
        wait_until(partial(has_values, scraped, expression, match[2]), 30)


def test_every_question_of_the_dashboard_for_the_api_is_answered(service: ServiceProcess) -> None:
    described = json.loads((GRAFANA / "dynometer-api.json").read_text())
    now_s = int(time.time())
    for panel in described["panels"]:
        for target in panel["targets"]:
            path = target["url"].replace("${app}", "shop")
            path = path.replace("${__from:date:seconds}", str(now_s - 3_600))
            path = path.replace("${__to:date:seconds}", str(now_s))
            rows = httpx2.get(f"{service.url}{path}", trust_env=False).json()["rows"]
            assert rows, path
            assert set(rows[0]) >= {column["selector"] for column in target["columns"]}
    variable = described["templating"]["list"][0]["query"]["infinityQuery"]
    assert httpx2.get(f"{service.url}{variable['url']}", trust_env=False).json()["apps"][0]["app"]
