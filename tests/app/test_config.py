"""Each setting is checked, and each error names the variable and the accepted values.

No error shows a secret.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from app.config import (
    SETTINGS,
    ConfigError,
    Settings,
    load_env_file,
    pages_url,
    unknown_settings,
)
from app.support.loopback import is_loopback

TOKEN = "a-token-of-the-admin"


def test_nothing_needs_to_be_set() -> None:
    settings = Settings.from_environ({})
    assert settings.local_mode
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8080, 1)
    assert settings.retention_1h_s == 90 * 86_400
    assert settings.body_bytes_max == 16 * 2**20


def test_an_empty_variable_is_as_if_it_were_not_set() -> None:
    assert Settings.from_environ({"PORT": ""}).port == 8080


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7_200), ("1d", 86_400)]
)
def test_durations_have_units(text: str, seconds: int) -> None:
    assert Settings.from_environ({"DYNOMETER_SPOOL_MAX_AGE": text}).spool_age_max_s == seconds


BAD = {
    "PORT": ["0", "70000", "x", "-1", "８０"],
    "WEB_CONCURRENCY": ["0", "many", "1.5"],
    "DYNOMETER_REDIS_APPENDFSYNC": ["no", "sometimes"],
    "DYNOMETER_PUBLIC_URL": ["metrics.example.com", "ftp://x", "https://a:b@example.com"],
    "DYNOMETER_SPOOL_MAX_AGE": ["0", "90", "soon", "-5m", "1y"],
    "DYNOMETER_BODY_BYTES_MAX": ["0", "16MB", "lots"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_an_invalid_value_is_named_with_the_accepted_ones(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as error:
        Settings.from_environ({name: value})
    assert str(error.value).startswith(f"{name}={value}: expected ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "environ",
    [
        {"DYNOMETER_RETENTION_1M": "16d"},
        {"DYNOMETER_RETENTION_1H": "1d"},
        {"DYNOMETER_HORIZON_PAST": "16d"},
        {"DYNOMETER_ADMIN_TOKEN": "short"},
        {"DYNOMETER_SECRET_KEY": "short"},
        {"HOST": "0.0.0.0"},
    ],
)
def test_contradicting_values_are_rejected(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as error:
        Settings.from_environ(environ)
    for value in environ.values():
        if value == "short":
            assert value not in str(error.value).split(":")[0].split()


def test_hours_kept_for_less_than_15_days_shorten_the_default_of_10_minutes() -> None:
    settings = Settings.from_environ({"DYNOMETER_RETENTION_1H": "10d"})
    assert settings.retention_10m_s == settings.retention_1h_s == 10 * 86_400


def test_patterns_of_review_apps_are_separated_by_spaces_or_commas() -> None:
    assert Settings.from_environ({}).review_apps == ("*-pr-[0-9]*",)
    settings = Settings.from_environ({"DYNOMETER_REVIEW_APPS": "shop-pr-*, blog-review-?"})
    assert settings.review_apps == ("shop-pr-*", "blog-review-?")
    assert Settings.from_environ({"DYNOMETER_REVIEW_APPS": ","}).review_apps == ()


def test_with_a_token_the_service_may_listen_anywhere() -> None:
    settings = Settings.from_environ({"HOST": "0.0.0.0", "DYNOMETER_ADMIN_TOKEN": TOKEN})
    assert not settings.local_mode


def test_secrets_are_marked_as_such() -> None:
    secret = {setting.name for setting in SETTINGS if setting.secret}
    assert secret == {
        *("REDIS_URL", "DYNOMETER_ADMIN_TOKEN", "DYNOMETER_SECRET_KEY"),
        *("DYNOMETER_KAFKA_OPTIONS", "DYNOMETER_ARCHIVE_URL"),
    }


def test_secrets_are_left_out_where_all_settings_are_printed() -> None:
    environ = {"DYNOMETER_ADMIN_TOKEN": TOKEN, "REDIS_URL": "redis://:pass@host", "PORT": "1234"}
    text = repr(Settings.from_environ(environ))
    assert TOKEN not in text
    assert "pass" not in text
    assert "1234" in text


def test_the_error_about_a_secret_does_not_show_it() -> None:
    with pytest.raises(ConfigError) as error:
        Settings.from_environ({"DYNOMETER_KAFKA_OPTIONS": "SECRET"})
    assert str(error.value).startswith("DYNOMETER_KAFKA_OPTIONS=…: expected properties such as")
    assert error.value.__cause__ is None


def test_only_the_given_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "1234")
    assert Settings.from_environ({"port": "1", "host": "x"}) == Settings.from_environ({})


def test_properties_may_contain_an_equals_sign() -> None:
    settings = Settings.from_environ({"DYNOMETER_KAFKA_OPTIONS": "a=b=c d={}"})
    assert settings.kafka_options == {"a": "b=c", "d": "{}"}


def test_a_choice_is_named_with_all_others() -> None:
    with pytest.raises(ConfigError) as error:
        Settings.from_environ({"DYNOMETER_LOG_FORMAT": "xml"})
    assert str(error.value) == "DYNOMETER_LOG_FORMAT=xml: expected human or json"


def test_an_unknown_setting_is_named_with_the_closest_one() -> None:
    warnings = unknown_settings(
        {"DYNOMETER_ADMIN_TOKN": "x", "DYNOMETER_QQQQQQQQQQQQQQQQQQQQ": "1", "PATH": "y"}
    )
    assert warnings == [
        "Ignoring unknown setting DYNOMETER_ADMIN_TOKN. Did you mean DYNOMETER_ADMIN_TOKEN?",
        "Ignoring unknown setting DYNOMETER_QQQQQQQQQQQQQQQQQQQQ.",
    ]


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.255.0.1:80", "::1", "[::1]", "[::1]:8080"],
)
def test_this_machine_is_recognized(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0.0.0.0",
        "::",
        "128.0.0.1",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "localhost:x",
        "localhost:80:80",
        "[::1]x",
        "user@localhost",
        "2130706433",
    ],
)
def test_nothing_else_is_this_machine(host: str) -> None:
    assert not is_loopback(host)


def test_on_heroku_the_self_signed_certificate_of_redis_is_accepted() -> None:
    environ = {"DYNO": "web.1", "REDIS_URL": "rediss://:p@host:6380", "HOST": "127.0.0.1"}
    url = "rediss://:p@host:6380?ssl_cert_reqs=none"
    assert Settings.from_environ(environ).redis_url == url
    environ["REDIS_URL"] += "/0?protocol=2"
    assert Settings.from_environ(environ).redis_url.endswith("/0?protocol=2&ssl_cert_reqs=none")
    environ["REDIS_URL"] = "rediss://h?ssl_cert_reqs=required"
    assert Settings.from_environ(environ).redis_url == environ["REDIS_URL"]
    del environ["DYNO"]
    environ["REDIS_URL"] = "rediss://h"
    assert Settings.from_environ(environ).redis_url == "rediss://h"


def test_on_heroku_the_public_address_comes_from_the_environment() -> None:
    environ = {"DYNO": "web.1", "HEROKU_APP_DEFAULT_DOMAIN_NAME": "x-123.herokuapp.com"}
    assert Settings.from_environ(environ).public_url == "https://x-123.herokuapp.com"
    environ["DYNOMETER_PUBLIC_URL"] = "https://metrics.example.com"
    assert Settings.from_environ(environ).public_url == "https://metrics.example.com"


@pytest.mark.parametrize(("workers", "connections"), [("1", 16), ("2", 8), ("4", 4), ("16", 2)])
def test_all_workers_together_fit_the_smallest_redis(workers: str, connections: int) -> None:
    settings = Settings.from_environ({"WEB_CONCURRENCY": workers})
    assert settings.redis_connections_max == connections


def test_the_address_of_the_pages_is_a_url_with_ipv6_too() -> None:
    assert pages_url(Settings.from_environ({"HOST": "::1"})) == "http://[::1]:8080"


def test_an_env_file_adds_settings_and_leaves_all_else_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = ["\ufeff# mine", "export PORT=9000", "HOST='::1'", "PATH=x", "DYNOMETR_KAFKA=a:1", "x"]
    (tmp_path / ".env").write_text("\r\n".join(lines))
    environ = {"HOST": "", "DYNOMETER_DATA_DIR": "d"}
    load_env_file(environ)
    assert environ == {
        "HOST": "",  # set, even if to nothing
        "DYNOMETER_DATA_DIR": "d",
        "PORT": "9000",
        "DYNOMETR_KAFKA": "a:1",
    }
    [warning] = unknown_settings(environ)
    assert warning == "Ignoring unknown setting DYNOMETR_KAFKA. Did you mean DYNOMETER_KAFKA?"


def test_a_line_of_an_env_file_that_is_no_setting_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("PORT=9000\nsome words\n")
    with pytest.raises(ConfigError, match=r"\.env, line 2: expected NAME=VALUE, not 'some words'"):
        load_env_file({})


def test_an_env_file_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("PORT=9000", "utf-16")
    with pytest.raises(ConfigError, match="Save it as UTF-8"):
        load_env_file({})


def test_an_archive_keeps_hours_as_long_as_the_store_and_days_longer() -> None:
    archive = {"DYNOMETER_ARCHIVE_URL": "postgresql://h/db"}
    assert Settings.from_environ(archive).archive_retention_1h_s == 400 * 86_400
    with pytest.raises(ConfigError, match="hours at least as long as the store"):
        Settings.from_environ({**archive, "DYNOMETER_ARCHIVE_RETENTION_1H": "89d"})
    with pytest.raises(ConfigError, match="days at least as long as hours"):
        Settings.from_environ({**archive, "DYNOMETER_ARCHIVE_RETENTION_1D": "399d"})
    for_ever = {"DYNOMETER_ARCHIVE_RETENTION_1H": "0", "DYNOMETER_ARCHIVE_RETENTION_1D": "0"}
    Settings.from_environ({**archive, **for_ever})


def test_without_an_archive_its_retention_does_not_matter() -> None:
    Settings.from_environ({"DYNOMETER_RETENTION_1H": "900d"})
