"""Settings: read once from the environment, from one table that the documentation is checked
against.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from app.loopback import is_loopback
from app.rollup import Caps
from app.setting_table import SETTINGS, Setting

ADMIN_TOKEN_LENGTH_MIN = 16
PREFIX = "DYNOMETER_"
_NO_SETTINGS = ("DYNOMETER_TEST_", "DYNOMETER_LAUNCHER")


class ConfigError(ValueError):
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
    pure: bool
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
    def caps(self) -> Caps:
        """How many names an interval keeps."""
        return Caps(
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
