"""Settings, read once from the environment, and from a .env file in the working directory.

To add a setting, add a field to `Settings`, and a section to docs/configuration.md that begins with
its description.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, MutableMapping
from difflib import get_close_matches
from io import StringIO
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from app.rollup.rollup import CardinalityLimits
from app.support.durations import parse_duration
from app.support.errors import UserError
from app.support.loopback import is_loopback

PREFIX = "DYNOMETER_"
ENV_FILE = Path(".env")  # in the working directory
_PREFIX_LIKENESS = 0.8
_RETENTION_10M_MIN_S = 7 * 86_400
_NEW_TOKEN = f"echo DYNOMETER_ADMIN_TOKEN=$(openssl rand -hex 32) >> {ENV_FILE}"
ADMIN_TOKEN_LENGTH_MIN = 16
EVERY_PROXY = "*"
REDIS_CONNECTIONS = 16  # of all workers; the smallest plan of Heroku's Redis allows 20
# Variables with our prefix that are not settings: for tests, the launcher script and development.
_NOT_SETTINGS = ("DYNOMETER_TEST_", "DYNOMETER_LAUNCHER", "DYNOMETER_PURE")

_SIZE = re.compile(r"([0-9]{1,12})(|KiB|MiB|GiB)")
_UNIT_BYTES = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


class ConfigError(UserError):
    """A setting is invalid. The message names it and the accepted values, and holds no secret."""


# Value parsers. Each raises ValueError with the accepted values, which completes "expected …".


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


def parse_count(value: str) -> int:
    """A whole number from 1 to 999,999."""
    if not (value.isascii() and value.isdigit() and 0 < int(value) < 10**6):
        raise ValueError("a whole number from 1")
    return int(value)


def parse_size(value: str) -> int:
    """A size such as 16MiB, in bytes."""
    match = _SIZE.fullmatch(value)
    if not match or not int(match[1]):
        raise ValueError("a size such as 16MiB")
    return int(match[1]) * _UNIT_BYTES[match[2]]


def parse_archive_url(value: str) -> str:
    """The address of a PostgreSQL database, which may hold a password."""
    if value and not value.startswith(("postgresql://", "postgres://")):
        raise ValueError("an address such as postgresql://USER:PASSWORD@HOST:5432/DATABASE")
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


def parse_globs(value: str) -> tuple[str, ...]:
    """Patterns of app names with *, ? and [...], separated by spaces or commas."""
    globs = tuple(value.replace(",", " ").split())
    if not all(re.fullmatch(r"[a-z0-9*?\[\]!-]+", glob) for glob in globs):
        raise ValueError("patterns of app names such as *-pr-[0-9]*, separated by spaces")
    return globs


def parse_proxies(value: str) -> tuple[str, ...]:
    """Addresses and networks, separated by commas; * for all."""
    proxies = tuple(part.strip() for part in value.split(",") if part.strip())
    try:
        for proxy in proxies:
            if proxy != EVERY_PROXY:
                ip_network(proxy)
    except ValueError:
        raise ValueError("addresses or networks such as 10.0.0.0/8,::1, or * for all") from None
    return proxies


def optional(parse: Callable[[str], int]) -> Callable[[str], int]:
    """A parser that also accepts 0, for none."""
    return lambda value: 0 if value == "0" else parse(value)


Flag = Annotated[bool, BeforeValidator(parse_flag)]
Port = Annotated[int, BeforeValidator(parse_port)]
OptionalPort = Annotated[int, BeforeValidator(optional(parse_port))]
Count = Annotated[int, BeforeValidator(parse_count)]
OptionalCount = Annotated[int, BeforeValidator(optional(parse_count))]
Duration = Annotated[int, BeforeValidator(parse_duration)]
Size = Annotated[int, BeforeValidator(parse_size)]
OptionalSize = Annotated[int, BeforeValidator(optional(parse_size))]
OptionalDuration = Annotated[int, BeforeValidator(optional(parse_duration))]
ArchiveUrl = Annotated[str, BeforeValidator(parse_archive_url)]
PublicUrl = Annotated[str, BeforeValidator(parse_public_url)]
Proxies = Annotated[tuple[str, ...], BeforeValidator(parse_proxies)]
Globs = Annotated[tuple[str, ...], BeforeValidator(parse_globs)]
Topic = Annotated[str, BeforeValidator(parse_topic)]
Properties = Annotated[dict[str, str], BeforeValidator(parse_properties)]


def setting(name: str, default: str, description: str, *, secret: bool = False) -> Any:
    """A field of `Settings`.

    Args:
        name: of the environment variable.
        default: written as in the environment.
        description: begins the section in docs/configuration.md.
        secret: whether the value is never shown.
    """
    return Field(default, validation_alias=name, description=description, repr=not secret)


class _Environment(EnvSettingsSource):
    """A mapping that is read in place of the process's environment."""

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self.env_vars = environ


class Settings(BaseSettings):
    """All settings. Durations are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(frozen=True, case_sensitive=True, enable_decoding=False)

    host: str = setting("HOST", "127.0.0.1", "Address to listen on.")
    port: Port = setting("PORT", "8080", "Port to listen on.")
    redis_url: str = setting(
        "REDIS_URL",
        "",
        "Address of the store: redis://, rediss:// or unix://; "
        "if empty, an embedded store is used.",
        secret=True,
    )
    redis_replicas: OptionalCount = setting(
        "DYNOMETER_REDIS_REPLICAS",
        "0",
        "Number of replicas that must also hold a batch before it is acknowledged.",
    )
    kafka: str = setting(
        "DYNOMETER_KAFKA",
        "",
        "Kafka brokers between drain and store, as HOST:PORT,…. If empty, Kafka is not used.",
    )
    kafka_topic: Topic = setting("DYNOMETER_KAFKA_TOPIC", "dynometer", "Topic for batches.")
    kafka_group: str = setting(
        "DYNOMETER_KAFKA_GROUP",
        "dynometer",
        "Consumer group of dynometer fold --from-kafka. "
        "Use a different group to fill a different store.",
    )
    kafka_options: Properties = setting(
        "DYNOMETER_KAFKA_OPTIONS",
        "",
        "Properties of librdkafka, such as security.protocol=SASL_SSL sasl.username=….",
        secret=True,
    )
    archive_url: ArchiveUrl = setting(
        "DYNOMETER_ARCHIVE_URL",
        "",
        "PostgreSQL database that keeps hours and days for years, as postgresql://…. "
        "If empty, there is no archive.",
        secret=True,
    )
    archive_retention_1h_s: OptionalDuration = setting(
        "DYNOMETER_ARCHIVE_RETENTION_1H",
        "400d",
        "How long the archive keeps hours; 0 for ever.",
    )
    archive_retention_1d_s: OptionalDuration = setting(
        "DYNOMETER_ARCHIVE_RETENTION_1D",
        "0",
        "How long the archive keeps days, events and episodes; 0 for ever.",
    )
    workers: Count = setting("WEB_CONCURRENCY", "1", "Number of worker processes.")
    data_dir: Path = setting(
        "DYNOMETER_DATA_DIR", ".dynometer", "Directory of the embedded store and the spool."
    )
    admin_token: str = setting(
        "DYNOMETER_ADMIN_TOKEN",
        "",
        "Token for the API, pages and /metrics. If empty, the service runs in local mode.",
        secret=True,
    )
    secret_key: str = setting(
        "DYNOMETER_SECRET_KEY",
        "",
        "Key from which new drain secrets are derived, so that they outlive the loss of the store. "
        "If empty, secrets are random.",
        secret=True,
    )
    public_url: PublicUrl = setting(
        "DYNOMETER_PUBLIC_URL", "", "Address at which Heroku reaches the service."
    )
    trusted_proxies: Proxies = setting(
        "DYNOMETER_TRUSTED_PROXIES",
        "",
        "Addresses or networks of proxies whose X-Forwarded-For is believed; * for all.",
    )
    redis_appendfsync: Literal["everysec", "always"] = setting(
        "DYNOMETER_REDIS_APPENDFSYNC",
        "everysec",
        "When the embedded store syncs to disk: everysec, or always (before each answer).",
    )
    retention_1m_s: Duration = setting(
        "DYNOMETER_RETENTION_1M", "24h", "How long 1-minute intervals are kept."
    )
    retention_10m_s: Duration = setting(
        "DYNOMETER_RETENTION_10M", "15d", "How long 10-minute intervals are kept."
    )
    retention_1h_s: Duration = setting(
        "DYNOMETER_RETENTION_1H", "90d", "How long 1-hour intervals are kept."
    )
    review_apps: Globs = setting(
        "DYNOMETER_REVIEW_APPS",
        "*-pr-[0-9]*",
        "Names of review apps, which are never silent and never page.",
    )
    production_apps: Globs = setting(
        "DYNOMETER_PRODUCTION_APPS",
        "*-production *-prod",
        "Names of production apps, which come first in the list of apps.",
    )
    staging_apps: Globs = setting(
        "DYNOMETER_STAGING_APPS",
        "*-staging *-stage",
        "Names of staging apps, which come last in the list of apps.",
    )
    horizon_past_s: Duration = setting(
        "DYNOMETER_HORIZON_PAST", "24h", "Maximum age of a line on arrival."
    )
    horizon_future_s: Duration = setting(
        "DYNOMETER_HORIZON_FUTURE",
        "5m",
        "How far a line's timestamp may be ahead of the service's clock.",
    )
    body_bytes_max: Size = setting(
        "DYNOMETER_BODY_BYTES_MAX", "16MiB", "Largest request body, after decompression."
    )
    spool_bytes_max: OptionalSize = setting(
        "DYNOMETER_SPOOL_MAX_BYTES",
        "256MiB",
        "Disk space for batches that arrive while the store is unavailable; 0 disables the spool.",
    )
    spool_age_max_s: Duration = setting(
        "DYNOMETER_SPOOL_MAX_AGE",
        "1h",
        "Longest time a batch may wait on disk and still be recognized when it is sent again.",
    )
    commit_wait_s: Duration = setting(
        "DYNOMETER_COMMIT_WAIT", "4s", "How long a batch waits for an unavailable store."
    )
    fold_interval_s: Duration = setting(
        "DYNOMETER_FOLD_INTERVAL",
        "5s",
        "Longest time between an append and its fold; 60 times as long for a quiet app.",
    )
    fold_batches: Count = setting(
        "DYNOMETER_FOLD_BATCHES",
        "192",
        "Number of elements in an inbox that triggers an immediate fold.",
    )
    syslog_port: OptionalPort = setting(
        "DYNOMETER_SYSLOG_PORT", "0", "Port of the syslog drain over plain TCP; 0 disables it."
    )
    syslog_tls_port: OptionalPort = setting(
        "DYNOMETER_SYSLOG_TLS_PORT", "0", "Port of the syslog drain over TLS; 0 disables it."
    )
    tls_cert: str = setting(
        "DYNOMETER_TLS_CERT",
        "",
        "PEM file with the certificate chain that the syslog drain presents over TLS.",
    )
    tls_key: str = setting(
        "DYNOMETER_TLS_KEY", "", "PEM file with the private key of that certificate."
    )
    syslog_proxy_protocol: Flag = setting(
        "DYNOMETER_SYSLOG_PROXY_PROTOCOL",
        "0",
        "1: each syslog connection begins with a PROXY protocol header.",
    )
    log_format: Literal["human", "json"] = setting(
        "DYNOMETER_LOG_FORMAT", "human", "Format of the service's own log: human or json."
    )
    process_types_max: Count = setting(
        "DYNOMETER_PROCESS_TYPES_MAX",
        "32",
        "How many process types of an app are kept separately in an interval.",
    )
    dynos_max: Count = setting(
        "DYNOMETER_DYNOS_MAX",
        "2048",
        "How many dynos of an app are kept separately in an interval.",
    )
    statuses_max: Count = setting(
        "DYNOMETER_STATUSES_MAX",
        "64",
        "How many statuses of an app are kept separately in an interval.",
    )
    codes_max: Count = setting(
        "DYNOMETER_CODES_MAX",
        "64",
        "How many error codes of an app are kept separately in an interval.",
    )

    custom_names_max: Count = setting(
        "DYNOMETER_CUSTOM_NAMES_MAX",
        "200",
        "How many names of custom metrics of an app are kept in an interval.",
    )
    custom_series_max: Count = setting(
        "DYNOMETER_CUSTOM_SERIES_MAX",
        "2000",
        "How many series of custom metrics of an app are kept in an interval.",
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read the environment; an empty variable counts as not set.

        Raises:
            ConfigError: a value is invalid, or two values contradict each other.
        """
        texts = {name: text for name, text in environ.items() if text}
        _shorten_default_retention(texts)
        try:
            return cls.model_validate({"environ": _on_heroku(texts) if "DYNO" in texts else texts})
        except ValidationError as error:
            raise ConfigError(_describe(error)) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment that `from_environ` was given, and no files."""
        return (_Environment(settings_cls, init_settings()["environ"]),)

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
            open_names=self.custom_names_max,
            open_series=self.custom_series_max,
        )

    @property
    def spool_dir(self) -> Path:
        """Directory of batches that wait while the store is unavailable."""
        return self.data_dir / "spool"

    @property
    def store_address(self) -> str:
        """A digest that tells apart the places of stores, whatever the credentials."""
        place = re.sub(r"//[^/]*@", "//", self.redis_url).partition("?")[0]
        return hashlib.sha256(place.encode()).hexdigest()

    @model_validator(mode="after")
    def _check(self) -> Settings:
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
        if self.archive_url and 0 < self.archive_retention_1h_s < self.retention_1h_s:
            raise ConfigError(
                "the archive must keep hours at least as long as the store: raise "
                "DYNOMETER_ARCHIVE_RETENTION_1H, or lower DYNOMETER_RETENTION_1H"
            )
        if self.archive_url and 0 < self.archive_retention_1d_s < self.archive_retention_1h_s:
            raise ConfigError(
                "the archive must keep days at least as long as hours: raise "
                "DYNOMETER_ARCHIVE_RETENTION_1D, or lower DYNOMETER_ARCHIVE_RETENTION_1H"
            )
        if self.syslog_tls_port and not (self.tls_cert and self.tls_key):
            raise ConfigError(
                "DYNOMETER_SYSLOG_TLS_PORT needs a certificate: "
                "set DYNOMETER_TLS_CERT and DYNOMETER_TLS_KEY"
            )
        if self.admin_token and len(self.admin_token) < ADMIN_TOKEN_LENGTH_MIN:
            raise ConfigError(
                f"DYNOMETER_ADMIN_TOKEN is shorter than {ADMIN_TOKEN_LENGTH_MIN} characters: "
                + _NEW_TOKEN
            )
        if self.secret_key and len(self.secret_key) < ADMIN_TOKEN_LENGTH_MIN:
            raise ConfigError(
                f"DYNOMETER_SECRET_KEY is shorter than {ADMIN_TOKEN_LENGTH_MIN} characters: "
                "export DYNOMETER_SECRET_KEY=$(openssl rand -hex 32)"
            )
        if self.local_mode and not is_loopback(self.host):
            raise ConfigError(
                f"HOST={self.host} is reachable from other machines, but no admin token is set. "
                f"First run: {_NEW_TOKEN}"
            )
        return self


class Setting(NamedTuple):
    """A setting in the output of `dynometer config` and in the documentation; see `setting`."""

    name: str
    default: str
    help: str
    secret: bool


SETTINGS = tuple(
    Setting(str(field.validation_alias), field.default, str(field.description), not field.repr)
    for field in Settings.model_fields.values()
)
_BY_NAME = {setting.name: setting for setting in SETTINGS}


def _shorten_default_retention(texts: dict[str, str]) -> None:
    """Keep 10-minute intervals no longer than hours, if only the retention of hours is set.

    Before 15 days became the default, any retention of hours from 7 days on was accepted.
    """
    hours, minutes = "DYNOMETER_RETENTION_1H", "DYNOMETER_RETENTION_10M"
    if hours not in texts or minutes in texts:
        return
    try:
        hours_s, default_s = map(parse_duration, (texts[hours], _BY_NAME[minutes].default))
    except ValueError:
        return  # the check of each value says what is wrong with it
    if _RETENTION_10M_MIN_S <= hours_s < default_s:
        texts[minutes] = texts[hours]


def _on_heroku(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a dyno, with the settings that follow from it.

    All requests come through Heroku's router. Heroku's Redis has a self-signed certificate, which
    cannot be verified. With the lab feature runtime-dyno-metadata, Heroku also sets the app's
    address.
    """
    settings = dict(environ)
    url = settings.get("REDIS_URL", "")
    if url.startswith("rediss://") and "ssl_cert_reqs=" not in url:
        settings["REDIS_URL"] = f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=none"
    settings.setdefault("DYNOMETER_TRUSTED_PROXIES", EVERY_PROXY)
    domain = settings.get("HEROKU_APP_DEFAULT_DOMAIN_NAME")
    if domain:
        settings.setdefault("DYNOMETER_PUBLIC_URL", f"https://{domain}")
    return settings


def _describe(error: ValidationError) -> str:
    """The first invalid setting, with the accepted values."""
    problem = error.errors(include_url=False)[0]
    setting = _BY_NAME[str(problem["loc"][0])]
    text = "…" if setting.secret else problem["input"]
    context = problem.get("ctx", {})
    choices = context.get("expected", "").replace("'", "")  # of a Literal
    rule = context.get("error") or choices or problem["msg"]
    return f"{setting.name}={text}: expected {rule}"


def read_env_file(path: Path = ENV_FILE) -> dict[str, str]:
    """The settings in a file of NAME=VALUE lines; none if there is no such file.

    Other variables in it are left out: the file may belong to another program too.

    Raises:
        ConfigError: the file cannot be read.
    """
    if not path.is_file():
        return {}
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read {path.resolve()} ({error}). Save it as UTF-8, readable for this user, "
            "or move it away"
        ) from None
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            line, string = binding.original.line, binding.original.string.strip()
            raise ConfigError(f"{path.resolve()}, line {line}: expected NAME=VALUE, not {string!r}")
    values = dotenv_values(stream=StringIO(text), interpolate=False)
    return {name: value for name, value in values.items() if value and _is_for_us(name)}


def load_env_file(environ: MutableMapping[str, str]) -> None:
    """Add the settings of ENV_FILE to the environment. A variable that is set there wins."""
    for name, value in read_env_file().items():
        environ.setdefault(name, value)


def _is_for_us(name: str) -> bool:
    """Whether a variable is a setting, or is meant to be one: DYNOMETR_ is a typing error."""
    prefix = name.partition("_")[0] + "_"
    return name in _BY_NAME or bool(get_close_matches(prefix, [PREFIX], cutoff=_PREFIX_LIKENESS))


def unknown_settings(environ: Mapping[str, str]) -> list[str]:
    """A warning for each DYNOMETER_ variable that is not a setting, with the closest setting."""
    warnings = []
    for name in sorted(environ):
        if _is_for_us(name) and name not in _BY_NAME and not name.startswith(_NOT_SETTINGS):
            close = get_close_matches(name, _BY_NAME, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            warnings.append(f"Ignoring unknown setting {name}.{hint}")
    return warnings


def pages_url(settings: Settings) -> str:
    """The address of the pages, as far as it is known."""
    return settings.public_url or local_url(settings, "http")


def local_url(settings: Settings, scheme: str) -> str:
    """The address at which the service listens."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{scheme}://{host}:{settings.port}"
