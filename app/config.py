"""Settings: read once from the environment, from one table that the documentation is checked
against.
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

_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_SIZE = re.compile(r"([0-9]{1,12})(|KiB|MiB|GiB)")
_UNIT_BYTES = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def text(value: str) -> str:
    """As it stands."""
    return value


def port(value: str) -> int:
    """1 to 65535."""
    if not (value.isascii() and value.isdigit() and 0 < int(value) < 2**16):
        raise ValueError("a port, 1 to 65535")
    return int(value)


def port_or_none(value: str) -> int:
    """The same, or 0 for none."""
    return 0 if value == "0" else port(value)


def count(value: str) -> int:
    """From 1."""
    if not (value.isascii() and value.isdigit() and 0 < int(value) < 10**6):
        raise ValueError("a whole number from 1")
    return int(value)


def count_or_none(value: str) -> int:
    """The same, or 0 for none."""
    return 0 if value == "0" else count(value)


def duration(value: str) -> int:
    """Seconds."""
    match = _DURATION.fullmatch(value)
    if not match or not int(match[1]):
        raise ValueError("a duration such as 24h, 90d, 5m, 30s")
    return int(match[1]) * _UNIT_S[match[2]]


def size(value: str) -> int:
    """Bytes."""
    match = _SIZE.fullmatch(value)
    if not match or not int(match[1]):
        raise ValueError("a size such as 16MiB")
    return int(match[1]) * _UNIT_BYTES[match[2]]


def size_or_none(value: str) -> int:
    """The same, or 0 for none."""
    return 0 if value == "0" else size(value)


def appendfsync(value: str) -> str:
    """One of the two."""
    if value not in ("everysec", "always"):
        raise ValueError("everysec or always")
    return value


def public_url(value: str) -> str:
    """Without a slash at its end."""
    if value and not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", value):
        raise ValueError("an address such as https://metrics.example.com, without credentials")
    return value.rstrip("/")


def flag(value: str) -> bool:
    """1 for yes, 0 for no."""
    if value not in ("0", "1"):
        raise ValueError("1 or 0")
    return value == "1"


def log_format(value: str) -> str:
    """One of the two."""
    if value not in ("human", "json"):
        raise ValueError("human or json")
    return value


def topic(value: str) -> str:
    """Of Kafka, with room for what is added to it."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", value):
        raise ValueError("a topic: letters, digits, dots, dashes and underscores, 200 at most")
    return value


def properties(value: str) -> dict[str, str]:
    """Words such as name=value, with blanks between them; a value may hold =."""
    found = {}
    for word in value.split():
        name, equals, given = word.partition("=")
        if not equals or not name:
            raise ValueError("properties such as security.protocol=SSL, with blanks between them")
        found[name] = given
    return found


class Setting(NamedTuple):
    """`default` is written as in the environment; `secret` values are never shown."""

    name: str
    field: str
    default: str
    parse: Callable[[str], Any]
    help: str
    secret: bool = False


SETTINGS = (
    Setting("HOST", "host", "127.0.0.1", text, "Address to listen on"),
    Setting("PORT", "port", "8080", port, "Port to listen on"),
    Setting(
        "REDIS_URL",
        "redis_url",
        "",
        text,
        "redis://, rediss:// or unix:// of the store; empty: an embedded store",
        secret=True,
    ),
    Setting(
        "DYNOMETER_REDIS_REPLICAS",
        "redis_replicas",
        "0",
        count_or_none,
        "How many replicas must have a batch, too, before it is acknowledged",
    ),
    Setting(
        "DYNOMETER_KAFKA",
        "kafka",
        "",
        text,
        "HOST:PORT,… of a Kafka that stands between drain and store; empty: none",
    ),
    Setting(
        "DYNOMETER_KAFKA_TOPIC", "kafka_topic", "dynometer", topic, "Topic that batches go through"
    ),
    Setting(
        "DYNOMETER_KAFKA_GROUP",
        "kafka_group",
        "dynometer",
        text,
        "Consumer group of 'fold --from-kafka': another one fills another store",
    ),
    Setting(
        "DYNOMETER_KAFKA_OPTIONS",
        "kafka_options",
        "",
        properties,
        "Properties of librdkafka, as in security.protocol=SASL_SSL sasl.username=…",
        secret=True,
    ),
    Setting("WEB_CONCURRENCY", "workers", "1", count, "Worker processes"),
    Setting(
        "DYNOMETER_DATA_DIR",
        "data_dir",
        ".dynometer",
        Path,
        "Where the embedded store and the spool keep their data",
    ),
    Setting(
        "DYNOMETER_ADMIN_TOKEN",
        "admin_token",
        "",
        text,
        "Opens API, pages and /metrics; empty: local mode",
        secret=True,
    ),
    Setting(
        "DYNOMETER_PUBLIC_URL",
        "public_url",
        "",
        public_url,
        "Address at which Heroku reaches the service, for 'drains add'",
    ),
    Setting(
        "DYNOMETER_REDIS_APPENDFSYNC",
        "redis_appendfsync",
        "everysec",
        appendfsync,
        "When the embedded store syncs to disk: everysec, or always (before each answer)",
    ),
    Setting(
        "DYNOMETER_RETENTION_1M", "retention_1m_s", "24h", duration, "How long minutes are kept"
    ),
    Setting(
        "DYNOMETER_RETENTION_10M",
        "retention_10m_s",
        "7d",
        duration,
        "How long intervals of 10 minutes are kept",
    ),
    Setting("DYNOMETER_RETENTION_1H", "retention_1h_s", "90d", duration, "How long hours are kept"),
    Setting(
        "DYNOMETER_HORIZON_PAST",
        "horizon_past_s",
        "24h",
        duration,
        "How old a line may be when it arrives",
    ),
    Setting(
        "DYNOMETER_HORIZON_FUTURE",
        "horizon_future_s",
        "5m",
        duration,
        "How far ahead of our clock a line may be",
    ),
    Setting("DYNOMETER_BODY_BYTES_MAX", "body_bytes_max", "16MiB", size, "Largest body, inflated"),
    Setting(
        "DYNOMETER_SPOOL_MAX_BYTES",
        "spool_bytes_max",
        "256MiB",
        size_or_none,
        "Room on disk for what comes while the store is away; 0 for none",
    ),
    Setting(
        "DYNOMETER_SPOOL_MAX_AGE",
        "spool_age_max_s",
        "1h",
        duration,
        "How long a batch may wait there and still be known when it comes again",
    ),
    Setting(
        "DYNOMETER_COMMIT_WAIT",
        "commit_wait_s",
        "4s",
        duration,
        "How long a batch waits for a store that is away",
    ),
    Setting(
        "DYNOMETER_FOLD_INTERVAL", "fold_interval_s", "5s", duration, "How old an inbox may become"
    ),
    Setting(
        "DYNOMETER_FOLD_BATCHES",
        "fold_batches",
        "64",
        count,
        "At how many batches an inbox is folded at once",
    ),
    Setting(
        "DYNOMETER_SYSLOG_PORT",
        "syslog_port",
        "0",
        port_or_none,
        "Port of the syslog drain over plain TCP; 0 for none",
    ),
    Setting(
        "DYNOMETER_SYSLOG_TLS_PORT",
        "syslog_tls_port",
        "0",
        port_or_none,
        "Port of the syslog drain over TLS; 0 for none",
    ),
    Setting(
        "DYNOMETER_TLS_CERT",
        "tls_cert",
        "",
        text,
        "PEM file with the certificate chain that the syslog drain shows over TLS",
    ),
    Setting("DYNOMETER_TLS_KEY", "tls_key", "", text, "PEM file with its private key"),
    Setting(
        "DYNOMETER_SYSLOG_PROXY_PROTOCOL",
        "syslog_proxy_protocol",
        "0",
        flag,
        "1: each syslog connection begins with a PROXY protocol header",
    ),
    Setting(
        "DYNOMETER_LOG_FORMAT",
        "log_format",
        "human",
        log_format,
        "How the service logs what happens to itself: human, or json",
    ),
    Setting(
        "DYNOMETER_PROCESS_TYPES_MAX",
        "process_types_max",
        "32",
        count,
        "How many process types of an app are told apart in an interval",
    ),
    Setting(
        "DYNOMETER_DYNOS_MAX",
        "dynos_max",
        "2048",
        count,
        "How many dynos of an app are told apart in an interval",
    ),
    Setting(
        "DYNOMETER_STATUSES_MAX",
        "statuses_max",
        "64",
        count,
        "How many statuses of an app are told apart in an interval",
    ),
    Setting(
        "DYNOMETER_CODES_MAX",
        "codes_max",
        "64",
        count,
        "How many error codes of an app are told apart in an interval",
    ),
)

ADMIN_TOKEN_LENGTH_MIN = 16
PREFIX = "DYNOMETER_"
_NO_SETTINGS = ("DYNOMETER_TEST_", "DYNOMETER_LAUNCHER", "DYNOMETER_PURE")


class ConfigError(UserError):
    """A setting cannot be used; the message names it and says what is accepted. It never holds a
    secret.
    """


REDIS_CONNECTIONS = 16  # of all workers


@dataclass(frozen=True, slots=True)
class Settings:
    """What the service was told. Durations in seconds, sizes in bytes."""

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
        """
        Raises:
            ConfigError: a value cannot be used, or values do not go together.
        """
        values = {setting.field: _parse(setting, environ) for setting in SETTINGS}
        settings = cls(**{**values, **_on_heroku(values, environ)})
        settings._check()
        return settings

    @property
    def local_mode(self) -> bool:
        """Whether no admin token is set: then only this machine is served, without credentials."""
        return not self.admin_token

    @property
    def redis_connections_max(self) -> int:
        """Of one worker: together they leave room on the smallest plan of Heroku's Redis, which has
        20.
        """
        return max(REDIS_CONNECTIONS // self.workers, 2)

    @property
    def limits(self) -> CardinalityLimits:
        """How many names an interval keeps."""
        return CardinalityLimits(
            process_types=self.process_types_max,
            dynos=self.dynos_max,
            statuses=self.statuses_max,
            codes=self.codes_max,
        )

    @property
    def spool_dir(self) -> Path:
        """Where batches wait while the store is away."""
        return self.data_dir / "spool"

    @property
    def drains_copy(self) -> Path:
        """The file with a copy of the drain secrets' hashes."""
        return self.data_dir / "drains.json"

    def _check(self) -> None:
        if not self.retention_1m_s <= self.retention_10m_s <= self.retention_1h_s:
            raise ConfigError(
                "retentions must not fall: "
                "DYNOMETER_RETENTION_1M <= DYNOMETER_RETENTION_10M <= DYNOMETER_RETENTION_1H"
            )
        if self.horizon_past_s > self.retention_10m_s:
            raise ConfigError(
                "DYNOMETER_HORIZON_PAST is longer than DYNOMETER_RETENTION_10M: "
                "lines would be taken and not kept"
            )
        if self.syslog_tls_port and not (self.tls_cert and self.tls_key):
            raise ConfigError(
                "DYNOMETER_SYSLOG_TLS_PORT needs a certificate: "
                "DYNOMETER_TLS_CERT and DYNOMETER_TLS_KEY"
            )
        if self.admin_token and len(self.admin_token) < ADMIN_TOKEN_LENGTH_MIN:
            raise ConfigError(
                f"DYNOMETER_ADMIN_TOKEN is shorter than {ADMIN_TOKEN_LENGTH_MIN} characters: "
                "export DYNOMETER_ADMIN_TOKEN=$(openssl rand -hex 32)"
            )
        if self.local_mode and not is_loopback(self.host):
            raise ConfigError(
                f"HOST={self.host} can be reached from other machines, and no admin token is set. "
                "First: export DYNOMETER_ADMIN_TOKEN=$(openssl rand -hex 32)"
            )


assert [setting.field for setting in SETTINGS] == [each.name for each in fields(Settings)]  # noqa: S101


def _on_heroku(values: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """What Heroku tells its dynos: that its Redis has a certificate of its own making, which nobody
    can check, and (labs: runtime-dyno-metadata) the app's address.
    """
    if "DYNO" not in environ:
        return {}
    found = {}
    url = values["redis_url"]
    if url.startswith("rediss://") and "ssl_cert_reqs=" not in url:
        found["redis_url"] = f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=none"
    domain = environ.get("HEROKU_APP_DEFAULT_DOMAIN_NAME")
    if domain and not values["public_url"]:
        found["public_url"] = f"https://{domain}"
    return found


def _parse(setting: Setting, environ: Mapping[str, str]) -> Any:
    given = environ.get(setting.name) or setting.default
    try:
        return setting.parse(given)
    except ValueError as error:
        shown = "…" if setting.secret else given
        raise ConfigError(f"{setting.name}={shown}: expected {error}") from None


def unknown_settings(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each DYNOMETER_ variable that is none of ours, with the name that may have
    been meant.
    """
    known = [setting.name for setting in SETTINGS]
    sentences = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known and not name.startswith(_NO_SETTINGS):
            close = get_close_matches(name, known, n=1)
            hint = f": did you mean {close[0]}?" if close else ""
            sentences.append(f"{name} is no setting and has no effect{hint}")
    return sentences


def pages_url(settings: Settings) -> str:
    """At which people reach the pages, as far as we know."""
    return settings.public_url or f"http://{settings.host}:{settings.port}"
