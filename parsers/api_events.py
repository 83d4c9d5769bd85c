"""Parses lines of app[api]: changes to an app. Until 2015, their origin was heroku[api].

Only the kinds and details below are kept. Users, commands and values of config vars are dropped.

    Build started by user jane@example.com               build     started
    Deploy edab5218 by user …                            deploy    edab5218
    Deployed web (2ef8bad7ccfa), worker (…) by user …    deploy    web 2ef8bad7ccfa, worker …
    Running release v212 commands by user …              release   v212 running
    Release v212 created by user …                       release   v212
    Release v212 command failed by user …                release   v212 failed
    Rollback to v211 by user …                           rollback  v211
    Scaled to web@4:Standard-1X worker@1:Basic by …      scale     web@4:Standard-1X worker@1:Basic
    Set LANG, oauth2.client-id config vars by user …     config    set LANG, oauth2.client-id
    Attach DATABASE (@ref:…) by user …                   addon     attach DATABASE
    @ref:redis-round-1 completed provisioning, …         addon     provisioned redis-round-1
    Stack changed from heroku-22 to heroku-24 by …       stack     from heroku-22 to heroku-24

and, in older logs:

    Scale to web=2, worker=1 by jane@example.com         scale     web@2 worker@1
    Config add PATH by …                                 config    set PATH
    Add-on add logging:basic by …                        addon     add logging:basic
    Slug compilation started                             build     started

The deploy, release and scale lines of one action have almost the same time and arrive in any order.

Sources: Heroku Dev Center, and public logs of 2011 to 2026.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from parsers.samples import PROCESS_TYPE, Event

DETAIL_LENGTH_MAX = 200
_CONFIG_VARS_MAX = 10  # listed in one detail; the rest are only counted
_MORE_LENGTH = len(" and 9999 more")  # a line has no more than 10,000 bytes

_TYPE = PROCESS_TYPE.encode()
_NAME = rb"[A-Za-z0-9_.-]{1,128}"  # of config vars and attachments
_REF = rb"[A-Za-z0-9_:.-]{1,128}"  # of add-ons and their plans
_SIZE = rb"%b@[0-9]{1,5}(?::[A-Za-z0-9._-]{1,32})?" % _TYPE
_OLD_SIZE = rb"%b=[0-9]{1,5}" % _TYPE
_IMAGE = rb"%b \([0-9a-f]{4,40}\)" % _TYPE
_STACK = rb"[A-Za-z0-9_.-]{1,64}"
_END = rb"(?= by |\s*\Z)"


def _list_of(item: bytes, separator: bytes) -> bytes:
    return rb"(%b(?:%b%b)*)" % (item, separator, item)


def _first_group(match: re.Match[bytes]) -> str:
    return match[1].decode()


def _images(match: re.Match[bytes]) -> str:
    images = match[1].decode().replace("(", "").replace(")", "")
    return _join("", images.split(", "), ", ")


def _release(match: re.Match[bytes]) -> str:
    return match[1].decode() + ("" if match[2] == b"created" else " failed")


def _running_release(match: re.Match[bytes]) -> str:
    return f"{match[1].decode()} running"


def _scale(match: re.Match[bytes]) -> str:
    sizes = match[1].decode().replace("=", "@").replace(",", "").split()
    if len(" ".join(sizes)) > DETAIL_LENGTH_MAX:
        sizes.sort(key=_is_not_web)  # web must not be among those that are only counted
    return _join("", sizes, " ")


def _is_not_web(size: str) -> bool:
    return not size.startswith("web@")


_OLD_VERBS = {b"add": "set", b"remove": "remove"}


def _config(match: re.Match[bytes]) -> str:
    verb = _OLD_VERBS.get(match[1]) or match[1].decode().lower()
    return _join(f"{verb} ", match[2].decode().split(", "), ", ", _CONFIG_VARS_MAX)


def _verb_and_name(match: re.Match[bytes]) -> str:
    return f"{match[1].decode().lower()} {match[2].decode()}"


def _provisioned(match: re.Match[bytes]) -> str:
    return f"provisioned {match[1].decode()}"


def _stack(match: re.Match[bytes]) -> str:
    return f"from {match[1].decode()} to {match[2].decode()}"


def _kinds() -> Iterator[tuple[bytes, str, bytes, Callable[[re.Match[bytes]], str]]]:
    """The first letters of each line, its kind, its pattern, and what makes its detail."""
    yield b"BS", "build", rb"(?:Build|Slug compilation) (started|succeeded|failed)\b", _first_group
    yield b"S", "build", rb"Slug compilation finished\b", lambda _: "succeeded"
    yield b"D", "deploy", rb"Deploy ([0-9a-f]{4,64})\b", _first_group
    yield b"D", "deploy", rb"Deployed %b%b" % (_list_of(_IMAGE, b", "), _END), _images
    yield b"R", "release", rb"Release (v[0-9]{1,9}) (created|command failed)\b", _release
    yield b"R", "release", rb"Running release (v[0-9]{1,9}) commands?\b", _running_release
    yield b"R", "rollback", rb"Rollback to (v[0-9]{1,9})\b", _first_group
    yield b"S", "scale", rb"Scaled to %b%b" % (_list_of(_SIZE, b" "), _END), _scale
    yield b"S", "scale", rb"Scale to %b%b" % (_list_of(_OLD_SIZE, b", "), _END), _scale
    names = _list_of(_NAME, b", ")
    yield b"SUR", "config", rb"(Set|Unset|Remove) %b config vars?\b" % names, _config
    yield b"C", "config", rb"Config (add|remove) %b%b" % (names, _END), _config
    yield b"ADU", "addon", rb"(Attach|Detach|Update) (%b)(?=\s|\Z)" % _NAME, _verb_and_name
    yield b"A", "addon", rb"Add-on (add|remove|update) (%b)%b" % (_REF, _END), _verb_and_name
    yield b"@", "addon", rb"@ref:(%b) completed provisioning\b" % _REF, _provisioned
    yield b"S", "stack", rb"Stack changed from (%b) to (%b)%b" % (_STACK, _STACK, _END), _stack


_KINDS: dict[bytes, list[tuple[str, re.Pattern[bytes], Callable[[re.Match[bytes]], str]]]] = {}
for _letters, _kind, _pattern, _detail_of in _kinds():
    for _letter in _letters:
        _KINDS.setdefault(bytes([_letter]), []).append((_kind, re.compile(_pattern), _detail_of))


def parse(text: bytes) -> Event | None:
    """The event of a line of app[api]; None for a line of any other kind."""
    for kind, pattern, detail_of in _KINDS.get(text[:1], ()):
        if match := pattern.match(text):
            return Event(kind, "", detail_of(match))
    return None


def _join(
    beginning: str, names: list[str], separator: str, count_max: int = DETAIL_LENGTH_MAX
) -> str:
    """`beginning` and the first of the names: as many as a detail has space for, at least one.

    The others are counted. No name is cut.
    """
    text = beginning + separator.join(names)
    if len(names) <= count_max and len(text) <= DETAIL_LENGTH_MAX:
        return text
    text = beginning + names[0]
    listed = 1
    for name in names[1:count_max]:
        if len(text) + len(separator) + len(name) + _MORE_LENGTH > DETAIL_LENGTH_MAX:
            break
        text += separator + name
        listed += 1
    return f"{text} and {len(names) - listed} more"
