"""The data directory is deleted under load: all that was acknowledged is there after a kill."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx2
import pytest

from tests.guarantees.test_lost_store import (
    APPS,
    HEADERS,
    TOKEN,
    WITHIN_S,
    Senders,
    add_drains,
    readiness,
)
from tests.support.processes import ServiceProcess
from tests.support.servers import wait_until


def received_count(service: ServiceProcess) -> int:
    with httpx2.Client(base_url=service.url, headers=HEADERS, trust_env=False) as client:
        ledgers = [client.get(f"/api/v1/apps/{app}/ledger").json() for app in APPS]
    return sum(ledger["received"] for ledger in ledgers)


@pytest.mark.timeout(120)
def test_nothing_is_lost_when_the_data_directory_is_deleted(tmp_path: Path) -> None:
    service = ServiceProcess(
        tmp_path,
        WEB_CONCURRENCY="2",
        DYNOMETER_ADMIN_TOKEN=TOKEN,
        DYNOMETER_PUBLIC_URL="https://metrics.example.com",
    )
    data_dir = tmp_path / "data"
    service.start()
    try:
        secrets = add_drains(service)
        with Senders(service, secrets).running() as senders:
            senders.wait_for_more()
            data_dir.rename(tmp_path / "elsewhere")
            senders.wait_for_more()
            wait_until(lambda: "They were written again" in service.log.read_text(), WITHIN_S)
            wait_until((data_dir / "access.json").exists, WITHIN_S)
            senders.wait_for_more()
        shutil.rmtree(tmp_path / "elsewhere")
        service.kill()
        service.start()
        assert set(senders.answers) <= {200, 503}
        wait_until(lambda: received_count(service) == senders.answers[200], WITHIN_S)
        assert readiness(service) == (200, False)
        with Senders(service, secrets).running() as senders:
            senders.wait_for_more()
    finally:
        service.stop()
