"""The command `config`: settings and their sources, without secrets."""

from __future__ import annotations

import json

import pytest

from app.cli.main import main
from app.config import SETTINGS


def test_it_prints_each_setting_and_its_source(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DYNOMETER_ADMIN_TOKEN", "a-token-of-the-admin")
    monkeypatch.setenv("REDIS_URL", "redis://:pass@host")
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    assert main(["config"]) == 0
    stdout = capsys.readouterr().out
    assert "a-token" not in stdout
    assert "pass" not in stdout
    assert any(
        line.split() == ["WEB_CONCURRENCY", "3", "(environment)"] for line in stdout.splitlines()
    )
    assert main(["config", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert list(values) == [setting.name for setting in SETTINGS]
    assert values["PORT"] == {"value": "8080", "source": "default"}
    assert values["REDIS_URL"] == {"value": "…", "source": "environment"}


def test_an_invalid_value_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "none")
    assert main(["config"]) == 2
    assert "PORT=none: expected a port" in capsys.readouterr().err
