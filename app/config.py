"""Settings, read once from the environment.

To add a setting, add a row to `SETTINGS`, a field at the same place in `Settings`, and a section
to docs/configuration.md that begins with the row's help text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from app.rollup.rollup import CardinalityLimits
from app.support.errors import UserError
from app.support.loopback import is_loopback

PREFIX = "DYNOMETER_"
ADMIN_TOKEN_LENGTH_MIN = 16
REDIS_CONNECTIONS = 16  # of all workers; the smallest plan of Heroku's Redis allows 20
# Variables with our prefix that are not settings: for tests, the launcher script and development.
_NOT_SETTINGS = ("DYNOMETER_TEST_", "DYNOMETER_LAUNCHER", "DYNOMETER_PURE")

_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_SIZE = re.compile(r"([0-9]{1,12})(|KiB|MiB|GiB)")
_UNIT_BYTES = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


class ConfigError(UserError):
    """A setting is invalid. The message names it and the accepted values, and holds no secret."""


# Value parsers. Each raises ValueError with the accepted values, which completes "expected …".


def parse_text(value: str) -> str:
    """Any text, unchanged."""
    return value


def parse_flag(value: str) -> bool:
    """1 (yes) or 0 (no)."""
    if value not in ("0", "1"):
        raise ValueError("1 or 0")
    return value == "1"


def parse_port(value: str) -> int:
    """A port from 1 to 65535."""
    if not (value.isascii() and value.isdigit() and 0 < int(value) < 2**16):
        raise ValueError("a port, 1 to 65535")
    return int(value)


def parse_optional_port(value: str) -> int:
    """A port, or 0 for none."""
    return 0 if value == "0" else parse_port(value)


def parse_count(value: str) -> int:
    """A whole number from 1 to 999,999."""
    if not (value.isascii() and value.isdigit() and 0 < int(value) < 10**6):
        raise ValueError("a whole number from 1")
    return int(value)


def parse_optional_count(value: str) -> int:
    """A whole number, or 0 for none."""
    return 0 if value == "0" else parse_count(value)


def parse_duration(value: str) -> int:
    """A duration such as 5m, in seconds."""
    match = _DURATION.fullmatch(value)
    if not match or not int(match[1]):
        raise ValueError("a duration such as 24h, 90d, 5m, 30s")
    return int(match[1]) * _UNIT_S[match[2]]


def parse_size(value: str) -> int:
    """A size such as 16MiB, in bytes."""
    match = _SIZE.fullmatch(value)
    if not match or not int(match[1]):
        raise ValueError("a size such as 16MiB")
    return int(match[1]) * _UNIT_BYTES[match[2]]


def parse_optional_size(value: str) -> int:
    """A size in bytes, or 0 for none."""
    return 0 if value == "0" else parse_size(value)


def parse_appendfsync(value: str) -> str:
    """When an append-only file is synced (redis.conf, appendfsync)."""
    if value not in ("everysec", "always"):
        raise ValueError("everysec or always")
    return value


def parse_log_format(value: str) -> str:
    """A format of the service's own log."""
    if value not in ("human", "json"):
        raise ValueError("human or json")
    return value


def parse_public_url(value: str) -> str:
    """An http(s) address without credentials; trailing slashes are removed."""
    if value and not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", value):
        raise ValueError("an address such as https://metrics.example.com, without credentials")
    return value.rstrip("/")


def parse_topic(value: str) -> str:
    """A Kafka topic. Kafka allows 249 characters; 200 leave space for our suffixes."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", value):
        raise ValueError("a topic: letters, digits, dots, dashes and underscores, 200 at most")
    return value


def parse_properties(value: str) -> dict[str, str]:
    """Properties as name=value, separated by spaces; a value may contain =."""
    properties = {}
    for word in value.split():
        name, equals, property_value = word.partition("=")
        if not equals or not name:
            raise ValueError("properties such as security.protocol=SSL, separated by spaces")
        properties[name] = property_value
    return properties


class Setting(NamedTuple):
    """An environment variable.

    `field` is its name in `Settings`, `default` is written as in the environment. The value of a
    `secret` setting is never shown.
    """

    name: str
    field: str
    default: str
    parse: Callable[[str], Any]
    help: str
    secret: bool = False


SETTINGS = (
    Setting("HOST", "host", "127.0.0.1", parse_text, "Address to listen on."),
    Setting("PORT", "port", "8080", parse_port, "Port to listen on."),
    Setting(
        "REDIS_URL",
        "redis_url",
        "",
        parse_text,
        "Address of the store: redis://, rediss:// or unix://; "
        "if empty, an embedded store is used.",
        secret=True,
    ),
    Setting(
        "DYNOMETER_REDIS_REPLICAS",
        "redis_replicas",
        "0",
        parse_optional_count,
        "Number of replicas that must also hold a batch before it is acknowledged.",
    ),
    Setting(
        "DYNOMETER_KAFKA",
        "kafka",
        "",
        parse_text,
        "Kafka brokers between drain and store, as HOST:PORT,…. If empty, Kafka is not used.",
    ),
    Setting("DYNOMETER_KAFKA_TOPIC", "kafka_topic", "dynometer", parse_topic, "Topic for batches."),
    Setting(
        "DYNOMETER_KAFKA_GROUP",
        "kafka_group",
        "dynometer",
        parse_text,
        "Consumer group of dynometer fold --from-kafka. "
        "Use a different group to fill a different store.",
    ),
    Setting(
        "DYNOMETER_KAFKA_OPTIONS",
        "kafka_options",
        "",
        parse_properties,
        "Properties of librdkafka, such as security.protocol=SASL_SSL sasl.username=….",
        secret=True,
    ),
    Setting("WEB_CONCURRENCY", "workers", "1", parse_count, "Number of worker processes."),
    Setting(
        "DYNOMETER_DATA_DIR",
        "data_dir",
        ".dynometer",
        Path,
        "Directory of the embedded store and the spool.",
    ),
    Setting(
        "DYNOMETER_ADMIN_TOKEN",
        "admin_token",
        "",
        parse_text,
        "Token for the API, pages and /metrics. If empty, the service runs in local mode.",
        secret=True,
    ),
    Setting(
        "DYNOMETER_PUBLIC_URL",
        "public_url",
        "",
        parse_public_url,
        "Address at which Heroku reaches the service.",
    ),
    Setting(
        "DYNOMETER_REDIS_APPENDFSYNC",
        "redis_appendfsync",
        "everysec",
        parse_appendfsync,
        "When the embedded store syncs to disk: everysec, or always (before each answer).",
    ),
    Setting(
        "DYNOMETER_RETENTION_1M",
        "retention_1m_s",
        "24h",
        parse_duration,
        "How long 1-minute intervals are kept.",
    ),
    Setting(
        "DYNOMETER_RETENTION_10M",
        "retention_10m_s",
        "7d",
        parse_duration,
        "How long 10-minute intervals are kept.",
    ),
    Setting(
        "DYNOMETER_RETENTION_1H",
        "retention_1h_s",
        "90d",
        parse_duration,
        "How long 1-hour intervals are kept.",
    ),
    Setting(
        "DYNOMETER_HORIZON_PAST",
        "horizon_past_s",
        "24h",
        parse_duration,
        "Maximum age of a line on arrival.",
    ),
    Setting(
        "DYNOMETER_HORIZON_FUTURE",
        "horizon_future_s",
        "5m",
        parse_duration,
        "How far a line's timestamp may be ahead of the service's clock.",
    ),
    Setting(
        "DYNOMETER_BODY_BYTES_MAX",
        "body_bytes_max",
        "16MiB",
        parse_size,
        "Largest request body, after decompression.",
    ),
    Setting(
        "DYNOMETER_SPOOL_MAX_BYTES",
        "spool_bytes_max",
        "256MiB",
        parse_optional_size,
        "Disk space for batches that arrive while the store is unavailable; 0 disables the spool.",
    ),
    Setting(
        "DYNOMETER_SPOOL_MAX_AGE",
        "spool_age_max_s",
        "1h",
        parse_duration,
        "Longest time a batch may wait on disk and still be recognized when it is sent again.",
    ),
    Setting(
        "DYNOMETER_COMMIT_WAIT",
        "commit_wait_s",
        "4s",
        parse_duration,
        "How long a batch waits for an unavailable store.",
    ),
    Setting(
        "DYNOMETER_FOLD_INTERVAL",
        "fold_interval_s",
        "5s",
        parse_duration,
        "Longest time between an append and its fold; 60 times as long for a quiet app.",
    ),
    Setting(
        "DYNOMETER_FOLD_BATCHES",
        "fold_batches",
        "64",
        parse_count,
        "Number of elements in an inbox that triggers an immediate fold.",
    ),
    Setting(
        "DYNOMETER_SYSLOG_PORT",
        "syslog_port",
        "0",
        parse_optional_port,
        "Port of the syslog drain over plain TCP; 0 disables it.",
    ),
    Setting(
        "DYNOMETER_SYSLOG_TLS_PORT",
        "syslog_tls_port",
        "0",
        parse_optional_port,
        "Port of the syslog drain over TLS; 0 disables it.",
    ),
    Setting(
        "DYNOMETER_TLS_CERT",
        "tls_cert",
        "",
        parse_text,
        "PEM file with the certificate chain that the syslog drain presents over TLS.",
    ),
    Setting(
        "DYNOMETER_TLS_KEY",
        "tls_key",
        "",
        parse_text,
        "PEM file with the private key of that certificate.",
    ),
    Setting(
        "DYNOMETER_SYSLOG_PROXY_PROTOCOL",
        "syslog_proxy_protocol",
        "0",
        parse_flag,
        "1: each syslog connection begins with a PROXY protocol header.",
    ),
    Setting(
        "DYNOMETER_LOG_FORMAT",
        "log_format",
        "human",
        parse_log_format,
        "Format of the service's own log: human or json.",
    ),
    Setting(
        "DYNOMETER_PROCESS_TYPES_MAX",
        "process_types_max",
        "32",
        parse_count,
        "How many process types of an app are kept separately in an interval.",
    ),
    Setting(
        "DYNOMETER_DYNOS_MAX",
        "dynos_max",
        "2048",
        parse_count,
        "How many dynos of an app are kept separately in an interval.",
    ),
    Setting(
        "DYNOMETER_STATUSES_MAX",
        "statuses_max",
        "64",
        parse_count,
        "How many statuses of an app are kept separately in an interval.",
    ),
    Setting(
        "DYNOMETER_CODES_MAX",
        "codes_max",
        "64",
        parse_count,
        "How many error codes of an app are kept separately in an interval.",
    ),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The values of all settings. Durations are in seconds, sizes in bytes."""

    host: str
    port: int
    redis_url: str
    redis_replicas: int
    kafka: str
    kafka_topic: str
    kafka_group: str
    kafka_options: dict[str, str]
    workers: int
    data_dir: Path
    admin_token: str
    public_url: str
    redis_appendfsync: str
    retention_1m_s: int
    retention_10m_s: int
    retention_1h_s: int
    horizon_past_s: int
    horizon_future_s: int
    body_bytes_max: int
    spool_bytes_max: int
    spool_age_max_s: int
    commit_wait_s: int
    fold_interval_s: int
    fold_batches: int
    syslog_port: int
    syslog_tls_port: int
    tls_cert: str
    tls_key: str
    syslog_proxy_protocol: bool
    log_format: str
    process_types_max: int
    dynos_max: int
    statuses_max: int
    codes_max: int

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read the environment; an empty variable counts as not set.

        Raises:
            ConfigError: a value is invalid, or two values contradict each other.
        """
        values = {setting.field: _value_of(setting, environ) for setting in SETTINGS}
        settings = cls(**{**values, **_heroku_overrides(values, environ)})
        settings._check()
        return settings

    @property
    def local_mode(self) -> bool:
        """Whether no admin token is set. The service then asks for no credentials and answers
        only this machine.
        """
        return not self.admin_token

    @property
    def redis_connections_max(self) -> int:
        """Connections of one worker, so that all workers share `REDIS_CONNECTIONS`."""
        return max(REDIS_CONNECTIONS // self.workers, 2)

    @property
    def limits(self) -> CardinalityLimits:
        """How many names of each kind an interval keeps separately."""
        return CardinalityLimits(
            process_types=self.process_types_max,
            dynos=self.dynos_max,
            statuses=self.statuses_max,
            codes=self.codes_max,
        )

    @property
    def spool_dir(self) -> Path:
        """Directory of batches that wait while the store is unavailable."""
        return self.data_dir / "spool"

    @property
    def drains_copy(self) -> Path:
        """File with a copy of the drain secrets' hashes."""
        return self.data_dir / "drains.json"

    def _check(self) -> None:
        if not self.retention_1m_s <= self.retention_10m_s <= self.retention_1h_s:
            raise ConfigError(
                "longer intervals must be kept at least as long as shorter ones: set "
                "DYNOMETER_RETENTION_1M <= DYNOMETER_RETENTION_10M <= DYNOMETER_RETENTION_1H"
            )
        if self.horizon_past_s > self.retention_10m_s:
            raise ConfigError(
                "DYNOMETER_HORIZON_PAST is longer than DYNOMETER_RETENTION_10M, so lines would be "
                "accepted but not kept: lower the first or raise the second"
            )
        if self.syslog_tls_port and not (self.tls_cert and self.tls_key):
            raise ConfigError(
                "DYNOMETER_SYSLOG_TLS_PORT needs a certificate: "
                "set DYNOMETER_TLS_CERT and DYNOMETER_TLS_KEY"
            )
        if self.admin_token and len(self.admin_token) < ADMIN_TOKEN_LENGTH_MIN:
            raise ConfigError(
                f"DYNOMETER_ADMIN_TOKEN is shorter than {ADMIN_TOKEN_LENGTH_MIN} characters: "
                "export DYNOMETER_ADMIN_TOKEN=$(openssl rand -hex 32)"
            )
        if self.local_mode and not is_loopback(self.host):
            raise ConfigError(
                f"HOST={self.host} is reachable from other machines, but no admin token is set. "
                "First run: export DYNOMETER_ADMIN_TOKEN=$(openssl rand -hex 32)"
            )


# `from_environ` passes values by field name; this finds a row or a field that was forgotten.
assert [setting.field for setting in SETTINGS] == [field.name for field in fields(Settings)]  # noqa: S101


def _heroku_overrides(values: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Values that follow from running on a dyno.

    Heroku's Redis has a self-signed certificate, which cannot be verified. With the lab feature
    runtime-dyno-metadata, Heroku also sets the app's address.
    """
    if "DYNO" not in environ:
        return {}
    overrides = {}
    url = values["redis_url"]
    if url.startswith("rediss://") and "ssl_cert_reqs=" not in url:
        overrides["redis_url"] = f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=none"
    domain = environ.get("HEROKU_APP_DEFAULT_DOMAIN_NAME")
    if domain and not values["public_url"]:
        overrides["public_url"] = f"https://{domain}"
    return overrides


def _value_of(setting: Setting, environ: Mapping[str, str]) -> Any:
    text = environ.get(setting.name) or setting.default
    try:
        return setting.parse(text)
    except ValueError as error:
        safe_text = "…" if setting.secret else text
        raise ConfigError(f"{setting.name}={safe_text}: expected {error}") from None


def unknown_settings(environ: Mapping[str, str]) -> list[str]:
    """A warning for each DYNOMETER_ variable that is not a setting, with the closest setting."""
    names = [setting.name for setting in SETTINGS]
    warnings = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in names and not name.startswith(_NOT_SETTINGS):
            close = get_close_matches(name, names, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            warnings.append(f"Ignoring unknown setting {name}.{hint}")
    return warnings


def pages_url(settings: Settings) -> str:
    """The address of the pages, as far as it is known."""
    return settings.public_url or f"http://{settings.host}:{settings.port}"
