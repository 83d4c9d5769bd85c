"""The command `custom`: switches on and off, and says what is dropped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.storage import embedded
from tests.support.logtext import dynometer


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """The data directory of a running store."""
    with embedded.start(tmp_path):
        yield tmp_path


def custom(data_dir: Path, *arguments: str) -> tuple[int, str, str]:
    result = dynometer("custom", *arguments, settings={"DYNOMETER_DATA_DIR": str(data_dir)})
    return result.returncode, result.stdout.decode(), result.stderr.decode()


def test_apps_are_switched_on_and_off(data_dir: Path) -> None:
    assert "off for every app" in custom(data_dir, "status")[2]
    code, _, stderr = custom(data_dir, "on", "shop", "blog")
    assert (code, stderr.splitlines()) == (
        0,
        [
            f"{app}: custom metrics are on. Takes effect within 5 seconds."
            for app in ("shop", "blog")
        ],
    )
    custom(data_dir, "off", "blog")
    statuses = json.loads(custom(data_dir, "status", "--json")[1])
    assert statuses == [{"app": "shop", "metrics": [], "dropped": 0}]
    assert custom(data_dir, "status")[1].splitlines()[1].split() == ["shop", "0", "0"]


def test_a_name_that_is_none_is_rejected(data_dir: Path) -> None:
    code, _, stderr = custom(data_dir, "on", "Shop!")
    assert code == 2
    assert "is not an app's name" in stderr
