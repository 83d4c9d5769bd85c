"""Lines of app[api]: what was done to an app. Of their text only what is named here is kept: never
who did it, never a command, never the value of anything.

    Build started by user jane@example.com               build     started
    Deploy edab5218 by user …                            deploy    edab5218
    Release v212 created by user …                       release   v212
    Rollback to v211 by user …                           rollback  v211
    Scaled to web@4:Standard-1X worker@1:Basic by …      scale     web@4:Standard-1X worker@1:Basic
    Set LANG, RACK_ENV config vars by user …             config    set LANG, RACK_ENV
    Attach DATABASE (@ref:…) by user …                   addon     attach DATABASE

Deploy, release and scale of one action bear almost the same time and come in any order.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from parsers.samples import Event

DETAIL_LENGTH_MAX = 200
_LIST_MAX = 10  # names in one detail; of more, their number

_NAME = rb"[A-Za-z_][A-Za-z0-9_]{0,63}"
_SIZE = rb"[a-z][A-Za-z0-9_-]{0,62}@[0-9]{1,5}(?::[A-Za-z0-9-]{1,32})?"

_BUILD = re.compile(rb"Build (started|succeeded|failed)\b")
_DEPLOY = re.compile(rb"Deploy ([0-9a-f]{4,40})\b")
_RELEASE = re.compile(rb"Release (v[0-9]{1,9}) created\b")
_ROLLBACK = re.compile(rb"Rollback to (v[0-9]{1,9})\b")
_SCALED = re.compile(rb"Scaled to (%b(?: %b)*)(?= by |\s*\Z)" % (_SIZE, _SIZE))
_CONFIG = re.compile(rb"(Set|Unset|Remove) (%b(?:, %b)*) config vars?\b" % (_NAME, _NAME))
_ADDON = re.compile(rb"(Attach|Detach|Update) (%b)\b" % _NAME)


def _plain(match: re.Match[bytes]) -> str:
    return match[1].decode()


def _scale(match: re.Match[bytes]) -> str:
    return _listed(match[1].decode().split(), " ")


def _config(match: re.Match[bytes]) -> str:
    return f"{match[1].decode().lower()} {_listed(match[2].decode().split(', '), ', ')}"


def _addon(match: re.Match[bytes]) -> str:
    return f"{match[1].decode().lower()} {match[2].decode()}"


_KINDS: tuple[tuple[str, re.Pattern[bytes], Callable[[re.Match[bytes]], str]], ...] = (
    ("build", _BUILD, _plain),
    ("deploy", _DEPLOY, _plain),
    ("release", _RELEASE, _plain),
    ("rollback", _ROLLBACK, _plain),
    ("scale", _SCALED, _scale),
    ("config", _CONFIG, _config),
    ("addon", _ADDON, _addon),
)


def parse(text: bytes) -> Event | None:
    """The event of a line of app[api]; None for a line that is none of ours."""
    for kind, pattern, detail_of in _KINDS:
        if match := pattern.match(text):
            return Event(kind, "", detail_of(match)[:DETAIL_LENGTH_MAX])
    return None


def _listed(names: list[str], separator: str) -> str:
    shown = separator.join(names[:_LIST_MAX])
    more = len(names) - _LIST_MAX
    return f"{shown} and {more} more" if more > 0 else shown
