"""Every setting, in one table that the documentation is checked against."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from app.setting_values import (
    appendfsync,
    count,
    count_or_none,
    duration,
    flag,
    log_format,
    port,
    port_or_none,
    properties,
    public_url,
    size,
    size_or_none,
    text,
    topic,
)


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
        "DYNOMETER_PURE",
        "pure",
        "0",
        flag,
        "1: interpreted, also where the busy paths were compiled",
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
