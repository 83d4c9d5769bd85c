"""Parses the lines in which Heroku's databases, caches and connection pools report on themselves.

    app[heroku-postgres]: source=DATABASE addon=postgresql-curved-12345
        sample#current_transaction=1873 sample#db_size=26219348792bytes sample#tables=13
        sample#active-connections=92 sample#index-cache-hit-rate=0.99723
        sample#memory-total=8025632kB …
    app[heroku-redis]: source=REDIS addon=redis-rugged-24473 sample#active-connections=4 …
    app[heroku-pgbouncer]: source=pgbouncer addon=postgresql-curved-12345 sample#client_active=56 …

Lines before 2016 have no addon=. Samples of any name are kept. Other lines of the same origins are
events, as those of app[api] are.

Formats: Heroku Dev Center, "Heroku Postgres Metrics Logs" and "Heroku Key-Value Store Metrics
Logs", and public logs of 2015 to 2026.
"""

from __future__ import annotations

import re

from parsers import api_events
from parsers.numbers import BYTES, Quantity, parse_quantity
from parsers.samples import AddonSamples, Event, ParseError

_SAMPLE = re.compile(rb"(?:^| )sample#([A-Za-z0-9._-]{1,100})=(\S*)")
_ADDON = re.compile(rb"(?:^| )addon=([A-Za-z0-9._-]{1,100})(?=\s|\Z)")
_ATTACHMENT = re.compile(rb"(?:^| )source=([A-Za-z0-9._-]{1,100})(?=\s|\Z)")
# Sizes that are logged without a unit.
_BYTES = frozenset(
    {
        "postgres.tmp-disk-used",
        "postgres.tmp-disk-available",
        "pgbouncer.avg_recv",
        "pgbouncer.avg_sent",
    }
)


def parse_postgres(text: bytes) -> AddonSamples | Event | None:
    """The samples of a database, or an event."""
    return _parse("postgres", text)


def parse_redis(text: bytes) -> AddonSamples | Event | None:
    """The samples of a cache, or an event."""
    return _parse("redis", text)


def parse_pgbouncer(text: bytes) -> AddonSamples | Event | None:
    """The samples of a connection pool."""
    return _parse("pgbouncer", text)


def _parse(service: str, text: bytes) -> AddonSamples | Event | None:
    """The samples in a line, by SERVICE.NAME. The first of a name counts.

    Raises:
        ParseError: the line has samples, but none is readable, or it names neither add-on nor
            attachment (reason "addon").
    """
    pairs = _SAMPLE.findall(text)
    if not pairs:
        return api_events.parse(text)
    addon, attachment = _ADDON.search(text), _ATTACHMENT.search(text)
    values: dict[str, Quantity] = {}
    for raw_name, raw_value in pairs:
        name = f"{service}.{raw_name.decode()}"
        quantity = parse_quantity(raw_value)
        if quantity is not None and name not in values:
            is_size = not quantity.unit and name in _BYTES
            values[name] = quantity._replace(unit=BYTES) if is_size else quantity
    if not values or (addon is None and attachment is None):
        raise ParseError("addon")
    return AddonSamples(
        addon[1].decode() if addon else "",
        attachment[1].decode() if attachment else "",
        tuple(values.items()),
    )
