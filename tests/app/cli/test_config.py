"""`dynometer config`: what is set, without secrets."""

from __future__ import annotations

import json

import pytest

from app.cli.main import main
from app.config import SETTINGS


def test_it_says_what_is_set_and_where_that_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DYNOMETER_ADMIN_TOKEN", "a-token-of-the-admin")
    monkeypatch.setenv("REDIS_URL", "redis://:pass@host")
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    assert main(["config"]) == 0
    shown = capsys.readouterr().out
    assert "a-token" not in shown
    assert "pass" not in shown
    assert any(
        line.split() == ["WEB_CONCURRENCY", "3", "(environment)"] for line in shown.splitlines()
    )
    assert main(["config", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert list(described) == [setting.name for setting in SETTINGS]
    assert described["PORT"] == {"value": "8080", "source": "default"}
    assert described["REDIS_URL"] == {"value": "…", "source": "environment"}


def test_a_value_that_cannot_be_used_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "none")
    assert main(["config"]) == 2
    assert "PORT=none: expected a port" in capsys.readouterr().err
