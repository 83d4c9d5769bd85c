"""Parses lines of app[api]: changes to an app.

Only the kinds and details below are kept. Users, commands and values of config vars are dropped.

    Build started by user jane@example.com               build     started
    Deploy edab5218 by user …                            deploy    edab5218
    Release v212 created by user …                       release   v212
    Rollback to v211 by user …                           rollback  v211
    Scaled to web@4:Standard-1X worker@1:Basic by …      scale     web@4:Standard-1X worker@1:Basic
    Set LANG, RACK_ENV config vars by user …             config    set LANG, RACK_ENV
    Attach DATABASE (@ref:…) by user …                   addon     attach DATABASE

The deploy, release and scale lines of one action have almost the same time and arrive in any order.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from parsers.samples import Event

DETAIL_LENGTH_MAX = 200
_NAMES_MAX = 10  # names listed in one detail; the rest are only counted

_NAME = rb"[A-Za-z_][A-Za-z0-9_]{0,63}"
_SIZE = rb"[a-z][A-Za-z0-9_-]{0,62}@[0-9]{1,5}(?::[A-Za-z0-9-]{1,32})?"

_BUILD = re.compile(rb"Build (started|succeeded|failed)\b")
_DEPLOY = re.compile(rb"Deploy ([0-9a-f]{4,40})\b")
_RELEASE = re.compile(rb"Release (v[0-9]{1,9}) created\b")
_ROLLBACK = re.compile(rb"Rollback to (v[0-9]{1,9})\b")
_SCALED = re.compile(rb"Scaled to (%b(?: %b)*)(?= by |\s*\Z)" % (_SIZE, _SIZE))
_CONFIG = re.compile(rb"(Set|Unset|Remove) (%b(?:, %b)*) config vars?\b" % (_NAME, _NAME))
_ADDON = re.compile(rb"(Attach|Detach|Update) (%b)\b" % _NAME)


def _first_group(match: re.Match[bytes]) -> str:
    return match[1].decode()


def _scale(match: re.Match[bytes]) -> str:
    return _join(match[1].decode().split(), " ")


def _config(match: re.Match[bytes]) -> str:
    return f"{match[1].decode().lower()} {_join(match[2].decode().split(', '), ', ')}"


def _addon(match: re.Match[bytes]) -> str:
    return f"{match[1].decode().lower()} {match[2].decode()}"


_KINDS: tuple[tuple[str, re.Pattern[bytes], Callable[[re.Match[bytes]], str]], ...] = (
    ("build", _BUILD, _first_group),
    ("deploy", _DEPLOY, _first_group),
    ("release", _RELEASE, _first_group),
    ("rollback", _ROLLBACK, _first_group),
    ("scale", _SCALED, _scale),
    ("config", _CONFIG, _config),
    ("addon", _ADDON, _addon),
)


def parse(text: bytes) -> Event | None:
    """The event of a line of app[api]; None for a line of any other kind."""
    for kind, pattern, detail_of in _KINDS:
        if match := pattern.match(text):
            return Event(kind, "", detail_of(match)[:DETAIL_LENGTH_MAX])
    return None


def _join(names: list[str], separator: str) -> str:
    text = separator.join(names[:_NAMES_MAX])
    more = len(names) - _NAMES_MAX
    return f"{text} and {more} more" if more > 0 else text
