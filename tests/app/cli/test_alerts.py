"""The command `alerts`: its changes take effect, it shows no secret, and tests are delivered."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.alerting.state import Alert, AppAlerts, pack_app_alerts
from app.storage import embedded
from app.storage.connect import connect
from app.storage.interface.alerts import AlertChange, AlertTable
from tests.support.logtext import dynometer
from tests.support.processes import ServiceProcess
from tests.support.receivers import webhook

SECRET = "https://hooks.example.com/services/SECRET"


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """The data directory of a running store."""
    with embedded.start(tmp_path):
        yield tmp_path


def alerts(data_dir: Path, *arguments: str, **settings: str) -> tuple[int, str, str]:
    settings["DYNOMETER_DATA_DIR"] = str(data_dir)
    result = dynometer("alerts", *arguments, settings=settings)
    return result.returncode, result.stdout.decode(), result.stderr.decode()


def test_a_channel_is_added_listed_without_its_secret_and_removed(data_dir: Path) -> None:
    code, stdout, stderr = alerts(data_dir, "channel", "add", "slack", SECRET)
    assert (code, stdout) == (0, "")
    assert "Channel slack added (https://hooks.example.com/…)." in stderr

    for words in (("list",), ("list", "--json"), ("channel", "list")):
        code, stdout, stderr = alerts(data_dir, *words)
        assert code == 0
        assert "hooks.example.com" in stdout
        assert "SECRET" not in stdout + stderr
    assert alerts(data_dir, "channel", "add", "slack", SECRET)[0] == 2

    assert alerts(data_dir, "channel", "remove", "slack")[0] == 0
    assert "No channel yet" in alerts(data_dir, "channel", "list")[2]


def test_the_key_of_a_webhook_is_shown_once(data_dir: Path) -> None:
    _, key, stderr = alerts(data_dir, "channel", "add", "webhook", SECRET, "--name", "ops")
    assert len(key.strip()) == 43
    assert "Copy it now" in stderr

    _, stdout, _ = alerts(data_dir, "list", "--json")
    assert key.strip() not in stdout


def test_a_bad_address_is_one_line_without_it(data_dir: Path) -> None:
    code, _, stderr = alerts(data_dir, "channel", "add", "slack", "http://example.com/SECRET")

    assert code == 2
    assert stderr.startswith("dynometer: the address must begin with https://")
    assert "SECRET" not in stderr


def test_rules_are_made_changed_switched_and_removed(data_dir: Path) -> None:
    words = (
        "add",
        "busy",
        "--metric",
        "requests",
        "--stat",
        "sum",
        "--limit",
        "1000",
        "--for",
        "3",
    )
    assert alerts(data_dir, *words, "--app", "shop")[0] == 0
    assert alerts(data_dir, "add", "slow", "--floor", "800", "--limit-of", "web=3")[0] == 0
    assert alerts(data_dir, "off", "no-data")[0] == 0

    rules = {
        rule["name"]: rule for rule in json.loads(alerts(data_dir, "list", "--json")[1])["rules"]
    }
    assert rules["busy"]["apps"] == ["shop"]
    assert rules["busy"]["for_minutes"] == 3
    assert rules["slow"]["floor"] == 800
    assert rules["slow"]["limits"] == {"web": 3}
    assert rules["slow"]["title"] == "p95 response time"
    assert rules["no-data"]["enabled"] is False
    stdout = alerts(data_dir, "list")[1]
    assert "sum of requests above 1,000, for 3 min, of shop  (yours)" in stdout
    over = alerts(data_dir, "add", "busy", "--over", "5m", "--quiet", "1h", "--count-min", "9")[2]
    assert "busy: sum of requests over 5 min above 1,000, with at least 9 requests, for 3" in over

    assert "slow: reset to the built-in rule" in alerts(data_dir, "remove", "slow")[2]
    assert alerts(data_dir, "remove", "slow")[0] == 2
    assert alerts(data_dir, "on", "nothing")[0] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--metric", "requests", "--stat", "p95"), "stat=p95: expected"),
        (("--metric", "none", "--stat", "sum"), "metric=none: expected one of requests"),
        (("--metric", "requests", "--stat", "share"), "stat=share: requires a counter"),
        (("--metric", "requests", "--stat", "sum", "--filter", "code=H12"), "code=H12: expected"),
        (
            ("--metric", "service_time_ms", "--stat", "p95", "--by", "dyno"),
            "stat=p95: expected avg",
        ),
        (("--metric", "requests", "--stat", "sum", "--for", "0"), "for_minutes=0: expected"),
        (("--metric", "requests", "--stat", "sum", "--limit", "nan"), "expected finite numbers"),
        (
            ("--metric", "requests", "--stat", "sum", "--limit", "1", "--resolve", "2"),
            "wrong side",
        ),
    ],
)
def test_an_invalid_rule_is_rejected_with_the_accepted_values(
    data_dir: Path, options: tuple[str, ...], message: str
) -> None:
    code, _, stderr = alerts(data_dir, "add", "mine", *options)

    assert code == 2
    assert message in stderr


def test_a_rule_about_the_year_before_requires_an_archive(data_dir: Path) -> None:
    rule = ("much", "--metric", "requests", "--stat", "sum", "--limit", "2", "--compare", "year")
    code, _, stderr = alerts(data_dir, "add", *rule)
    assert code == 2
    assert "kept for 90 days. Set DYNOMETER_ARCHIVE_URL" in stderr
    url = {"DYNOMETER_ARCHIVE_URL": "postgresql://x@db/x"}
    code, _, stderr = alerts(data_dir, "add", *rule, **url)
    assert code == 0
    assert "much: sum of requests above 2 × a year before, for 1 min." in stderr


def test_an_unknown_app_is_not_muted(data_dir: Path) -> None:
    assert alerts(data_dir, "mute", "shop", "2h")[0] == 2
    assert (
        "'2': expected a duration with its unit: one of 2s, 2m, 2h, 2d"
        in (alerts(data_dir, "mute", "dynometer", "2")[2])
    )
    assert alerts(data_dir, "mute", "dynometer", "2h")[0] == 0
    assert "muted   Dynometer: until" in alerts(data_dir, "list")[1]
    assert "muted until" in alerts(data_dir, "history")[1]
    assert alerts(data_dir, "unmute", "dynometer")[0] == 0
    assert alerts(data_dir, "unmute", "dynometer")[0] == 2


async def test_firing_alerts_are_acknowledged(data_dir: Path) -> None:
    code, _, stderr = alerts(data_dir, "ack", "shop")
    assert (code, "no alert of shop is firing" in stderr) == (2, True)
    alert = Alert("slow", "web", "firing", 1, is_notified=True, summary="Slow.")
    store = connect(embedded.find_running(data_dir) or "")
    record = pack_app_alerts(AppAlerts(1, alerts=(alert,)))
    await store.change_alerts([AlertChange(AlertTable.STATES, "shop", record)])
    await store.close()
    code, _, stderr = alerts(data_dir, "ack", "shop", "--by", "kim")
    assert code == 0
    assert "shop: no new notifications until its alerts resolve (acknowledged at" in stderr
    assert re.search(r"acked   shop: until its .* UTC by kim\)", alerts(data_dir, "list")[1])
    assert "shop: acknowledged by kim" in alerts(data_dir, "history", "shop")[1]


async def test_a_test_message_is_sent_by_the_service(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path)
    data_dir = Path(service.environ["DYNOMETER_DATA_DIR"])
    async with webhook() as hook:
        await asyncio.to_thread(service.start)
        try:
            add = ("channel", "add", "webhook", hook.url, "--name", "ops")
            assert (await asyncio.to_thread(alerts, data_dir, *add))[0] == 0
            code, _, stderr = await asyncio.to_thread(alerts, data_dir, "test")
            assert (code, stderr.splitlines()[-1]) == (0, "ops: delivered.")  # after a wait, maybe
            assert hook.received[0].json["title"] == "Dynometer: test of channel ops"

            hook.answers = [404]
            code, _, stderr = await asyncio.to_thread(alerts, data_dir, "test", "ops")
            assert code == 1
            assert "not delivered: answered 404. Its address is wrong or was revoked" in stderr
        finally:
            await asyncio.to_thread(service.stop)
    log = service.log.read_text()
    assert "SECRET" not in log
    assert "answered 404" in log


def test_a_rule_that_is_no_longer_built_in_can_be_turned_off_as_before(data_dir: Path) -> None:
    code, _, stderr = alerts(data_dir, "off", "load-high")
    assert code == 0
    assert "load-high: off." in stderr
    _, stdout, _ = alerts(data_dir, "list")
    (line,) = [line for line in stdout.splitlines() if line.startswith("load-high")]
    assert line.endswith("(yours)  (off)")
    assert "no data, for 0 min" not in stdout
    assert alerts(data_dir, "off", "load-hihg")[0] == 2
