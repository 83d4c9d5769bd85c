"""The parts of a service fit together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from app.config import Settings
from app.service.wiring import build_service
from app.storage.memory import MemoryStore
from tests.support.service import Clock


def test_without_an_archive_nothing_of_it_is_imported() -> None:
    script = "import sys, app.service.asgi, app.cli.apps, app.cli.doctor; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "app.service.archive_extra" in modules
    assert not {"psycopg", "app.archive"} & set(modules)


async def test_minutes_dropped_under_memory_pressure_are_not_folded_again(tmp_path: Path) -> None:
    """The guard shortens the retention in a list; folding and queries must read the same list."""
    clock = Clock()
    settings = Settings.from_environ({"DYNOMETER_DATA_DIR": str(tmp_path)})
    service = build_service(settings, MemoryStore(clock), clock)
    shorter = service.tiers[0]._replace(retention_s=3_600)

    service.tiers[0] = shorter

    assert service.fold_worker._resolutions[0] == shorter
    assert service.memory_guard._resolutions[0] == shorter
