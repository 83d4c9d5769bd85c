"""A real Prometheus scrapes a real service with the output of `dynometer prometheus-config`.

It scrapes every second, and a slow scrape shows only with the next one. The tests therefore wait
for the expected values.
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
from tests.support.lines import app_line
from tests.support.monitoring import Prometheus, prometheus
from tests.support.processes import ROOT, ServiceProcess
from tests.support.servers import wait_until
from tests.support.traffic import hour, send

APPS = ("blog", "shop")
GRAFANA = ROOT / "deploy" / "grafana" / "dashboards"
VARIABLES = {"$__rate_interval": "4s", "$app": "shop", "$process_type": "web|worker"}
MARKS = "count#orders=1 measure#queue_time=3ms measure#size=7 sample#jobs=2"
QUIET = {11, 15}  # panels without values while nothing new happens
TARGET = "    static_configs:\n      - labels: {app: monitoring}\n        targets"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    service = ServiceProcess(tmp_path_factory.mktemp("service"))
    service.start()
    try:
        for number, app in enumerate(APPS):
            release = frame(190, time.time() - 600, "app", "api", "Release v7 created by user x")
            send(service.url, app, [release])
            switch = httpx2.put(
                f"{service.url}/api/v1/apps/{app}/custom", json={"on": True}, trust_env=False
            )
            assert switch.status_code == 200, switch.text
            send(service.url, app, hour(app, number))
        yield service
    finally:
        service.stop()


def print_config(service: ServiceProcess, *arguments: str) -> str:
    """The output of `dynometer prometheus-config`."""
    result = subprocess.run(
        [sys.executable, "-m", "app.cli", "prometheus-config", *arguments],
        env=service.environ,
        cwd=service.directory,
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout


@pytest.fixture(scope="module")
def prometheus_server(
    service: ServiceProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes every second; its target has a label `app` too."""
    config = print_config(service).replace("scrape_interval: 20s", "scrape_interval: 1s")
    config = config.replace("    static_configs:\n      - targets", TARGET)
    assert TARGET in config
    rules = ROOT / "deploy" / "prometheus" / "dynometer.rules.yml"
    config = config.replace("/etc/prometheus/dynometer.rules.yml", str(rules))
    with prometheus(tmp_path_factory.mktemp("prometheus"), config) as server:
        wait_until(lambda: len(server.query("count_over_time(heroku_dynos[1m]) > 3")) > 2, 30)
        yield server


def query_api(service: ServiceProcess, query: str) -> list[dict[str, Any]]:
    answer = httpx2.get(f"{service.url}/api/v1/apps/shop/query?{query}", trust_env=False).json()
    series: list[dict[str, Any]] = answer["series"]
    return series


def test_prometheus_has_the_values_of_the_api(
    service: ServiceProcess, prometheus_server: Prometheus
) -> None:
    last_seen = "heroku_app_last_seen_timestamp_seconds"
    wait_until(lambda: set(prometheus_server.values(last_seen, "app")) == set(APPS), 30)
    for series, metric, label in (
        ("heroku_router_requests_total", "requests", "status"),
        ("heroku_errors_total", "heroku_errors", "code"),
    ):

        def agree(series: str = series, metric: str = metric, label: str = label) -> bool:
            prometheus_values = prometheus_server.values(
                f'sum by ({label}) ({series}{{app="shop"}}) > 0', label
            )
            api_series = query_api(service, f"metric={metric}&by={label}&start=now-2h&step=range")
            return prometheus_values == {
                item["labels"][label]: item["values"][0] for item in api_series
            }

        wait_until(agree, 30)


@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
def test_quantiles_agree_with_the_api_within_a_bucket(
    service: ServiceProcess, prometheus_server: Prometheus, quantile: float
) -> None:
    buckets = 'sum by (le) (heroku_router_service_time_seconds_bucket{app="shop"})'
    query = f"metric=service_time_ms&stat=p{quantile * 100:g}&start=now-2h&step=range"

    def agree() -> bool:
        prometheus_values = prometheus_server.query(f"histogram_quantile({quantile}, {buckets})")
        quantile_ms = query_api(service, query)[0]["values"][0]
        bounds = (0, *PROMETHEUS_BOUNDS_MS)
        low_ms, high_ms = next(pair for pair in pairwise(bounds) if quantile_ms <= pair[1])
        return any(
            low_ms <= float(item["value"][1]) * 1000 <= high_ms for item in prometheus_values
        )

    wait_until(agree, 30)


def test_without_honor_labels_the_targets_label_takes_the_place_of_ours(
    service: ServiceProcess, tmp_path: Path
) -> None:
    config = print_config(service).replace("scrape_interval: 20s", "scrape_interval: 1s")
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
    config = print_config(service, "--app", "sh*", "--app", "nothing")
    assert "app: ['sh*', 'nothing']" in config
    (tmp_path / "prometheus.yml").write_text(re.sub(r"rule_files:\n.*\n", "", config))
    command = ["promtool", "check", "config", "--syntax-only", str(tmp_path / "prometheus.yml")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    text = httpx2.get(f"{service.url}/metrics?app=sh*&app=nothing", trust_env=False).text
    assert set(re.findall(r'app="([^"]*)"', text)) == {"shop"}


def expressions(dashboard: Path) -> list[tuple[int, str]]:
    """(panel, expression) pairs of a dashboard, with its variables replaced."""
    dashboard_json = json.loads(dashboard.read_text())
    panel_expressions = [(0, item["expr"]) for item in dashboard_json["annotations"]["list"]]
    for panel in dashboard_json["panels"]:
        panel_expressions += [(panel["id"], item["expr"]) for item in panel.get("targets", ())]
    expanded_expressions = []
    for panel_id, expression in panel_expressions:
        plain = expression.replace("[5m]", "[4s]")
        for name, value in VARIABLES.items():
            plain = plain.replace(name, value)
        expanded_expressions.append((panel_id, plain))
    return expanded_expressions


@pytest.mark.parametrize(("panel", "expression"), expressions(GRAFANA / "dynometer.json"))
def test_every_query_of_the_dashboard_is_answered(
    service: ServiceProcess, prometheus_server: Prometheus, panel: int, expression: str
) -> None:
    def answered() -> bool:
        live = [*hour("shop", 7, seconds=2), app_line(MARKS, at_s=time.time())]
        send(service.url, "shop", live)
        results = prometheus_server.query(expression)
        return any(result["value"][1] != "NaN" for result in results) or panel in QUIET

    wait_until(answered, 30)


def has_values(prometheus_server: Prometheus, expression: str, label: str) -> bool:
    return bool(prometheus_server.values(expression, label))


def test_the_dashboards_variables_have_values(prometheus_server: Prometheus) -> None:
    dashboard = json.loads((GRAFANA / "dynometer.json").read_text())
    for variable in dashboard["templating"]["list"]:
        match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
        assert match is not None
        expression = match[1].replace("$app", "shop")
        wait_until(partial(has_values, prometheus_server, expression, match[2]), 30)


def test_every_api_query_of_the_dashboard_is_answered(service: ServiceProcess) -> None:
    dashboard = json.loads((GRAFANA / "dynometer-api.json").read_text())
    now_s = int(time.time())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            path = target["url"].replace("${app}", "shop")
            path = path.replace("${__from:date:seconds}", str(now_s - 3_600))
            path = path.replace("${__to:date:seconds}", str(now_s))
            rows = httpx2.get(f"{service.url}{path}", trust_env=False).json()["rows"]
            assert rows, path
            assert set(rows[0]) >= {column["selector"] for column in target["columns"]}
    variable = dashboard["templating"]["list"][0]["query"]["infinityQuery"]
    assert httpx2.get(f"{service.url}{variable['url']}", trust_env=False).json()["apps"][0]["app"]
