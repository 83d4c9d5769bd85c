"""Divides a body of a space-level drain among the apps of the space.

A Private Space or Shield space has one drain for all its apps (Heroku: "Private Space Logging").
The messages carry no drain token, so their HOSTNAME tells the apps apart. A message belongs to an
app only if the operator allowed that app for the space. All others are counted as unparsed, for the
space itself. Public documentation does not say what Heroku writes into HOSTNAME, so those that
occur are shown (app.access.rejected_logins), and can be linked to an app.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from parsers.framing import Damage
from parsers.syslog_header import hostname_of

UNLISTED = ""  # no app: the messages belong to the space itself
_SHUTTLE_HOSTNAME = b"heroku"  # of log-shuttle's own lines, whatever the app
_SHUTTLE_PROCID = b" log-shuttle "


class Portion(NamedTuple):
    """The messages of one app, and how many its sender promised and lost; 0 if it did not say."""

    frames: list[bytes | Damage]
    msg_count: int
    lost_count: int


class SpaceBody:
    """The messages of one body, by app."""

    def __init__(self, app_of: Callable[[str], str]) -> None:
        """`app_of` returns the app of a HOSTNAME; UNLISTED for none."""
        self._app_of = app_of
        self._apps: dict[bytes, str] = {}
        self._frames: dict[str, list[bytes | Damage]] = {}
        self._without_app: list[bytes | Damage] = []  # before the first message that names its app
        self._app: str | None = None  # of the last message
        self.unlisted_hostnames: Counter[str] = Counter()

    def add(self, frame: bytes | Damage) -> None:
        """Add a message or damage.

        What names no app belongs to the app of the message before it, otherwise after it.
        """
        hostname = _hostname_of(frame)
        if hostname:
            if hostname not in self._apps:
                self._apps[hostname] = self._app_of(hostname.decode("latin-1"))
            self._app = self._apps[hostname]
            if self._app == UNLISTED:
                self.unlisted_hostnames[hostname.decode("latin-1")] += 1
        if self._app is None:
            self._without_app.append(frame)
            return
        frames = self._frames.setdefault(self._app, [])
        for item in (*self._without_app, frame):
            is_unlisted = self._app == UNLISTED and not isinstance(item, Damage)
            frames.append(Damage(len(item), "hostname") if is_unlisted else item)
        self._without_app.clear()

    def portions(self, msg_count: int, lost_count: int) -> dict[str, Portion]:
        """The messages of each app, of a body whose sender promised and lost so many messages.

        What is missing or lost belongs to the only app; if there are several, to the space.
        """
        frames = dict(self._frames)
        if self._without_app:
            frames.setdefault(UNLISTED, []).extend(self._without_app)
        missing = max(0, msg_count - sum(map(len, frames.values())))
        losing_app = next(iter(frames)) if len(frames) == 1 else UNLISTED
        if missing or lost_count:
            frames.setdefault(losing_app, [])
        portions = {
            app: Portion(items, len(items) if msg_count else 0, 0) for app, items in frames.items()
        }
        if losing_app in portions:
            items, promised, _ = portions[losing_app]
            portions[losing_app] = Portion(items, promised + missing, lost_count)
        return portions


def _hostname_of(frame: bytes | Damage) -> bytes:
    if isinstance(frame, Damage):
        return b""
    hostname = hostname_of(frame)
    is_own_line = hostname == _SHUTTLE_HOSTNAME and _SHUTTLE_PROCID in frame[:512]
    return b"" if is_own_line else hostname
