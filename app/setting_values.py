"""How the values of settings are written. Each function reads one kind, and raises ValueError with
what is accepted.
"""

from __future__ import annotations

import re

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
