"""Records the last rejected logins at the drain, so that operators see why an app has no data.

A user or token from an unauthenticated request may be anything, even a misplaced password.
Therefore it is recorded only if it has the form of an app's name or of a drain token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from app.access.drain_registry import valid_app
from app.access.drain_secrets import DRAIN_TOKEN
from app.storage.interface.status import StatusReader, StatusStore

REJECTED_LOGINS_PREFIX = "refused:"  # of the names of status records of rejected logins
REJECTED_LOGINS_MAX = 20
RETENTION_S = 24 * 3600
UNLISTED_HOSTNAME = "HOSTNAME is no app of the space"
_TOKEN = re.compile(r"d\.[0-9a-f-]{36}")


class _LoginKey(NamedTuple):
    """Identifies equal rejected logins; `user` and `token` are "" if they have the wrong form."""

    user: str
    token: str
    reason: str


class RejectedLogin(msgspec.Struct, frozen=True):
    """Equal rejected logins and their number. Times in Unix seconds."""

    user: str
    token: str
    reason: str
    count: int
    first_s: int
    last_s: int

    @property
    def is_unlisted(self) -> bool:
        """Whether these are lines of a space that belong to no app; `token` is their HOSTNAME."""
        return self.reason == UNLISTED_HOSTNAME


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[RejectedLogin]).decode


class RejectedLogins:
    """The rejected logins of this worker."""

    def __init__(self, store: StatusStore, clock: Callable[[], float], *, name: str) -> None:
        """`name`: of the worker."""
        self._store = store
        self._clock = clock
        self._heartbeat_name = REJECTED_LOGINS_PREFIX + name
        self._logins: dict[_LoginKey, RejectedLogin] = {}  # most recent last
        self._has_changes = False

    def add(self, user: str, token: str, reason: str) -> None:
        """Record a rejected login."""
        self._add(user, token if _TOKEN.fullmatch(token) else "", reason, 1)

    def add_unlisted(self, space: str, hostname: str, messages: int) -> None:
        """Record messages of a space's drain whose HOSTNAME is none of its apps."""
        is_hostname = DRAIN_TOKEN.fullmatch(hostname)
        self._add(space, hostname if is_hostname else "", UNLISTED_HOSTNAME, messages)

    def _add(self, user: str, token: str, reason: str, count: int) -> None:
        user = user if valid_app(user) else ""
        key = _LoginKey(user, token, reason)
        now_s = int(self._clock())
        earlier = self._logins.pop(key, None)
        self._logins[key] = RejectedLogin(
            *key,
            count=earlier.count + count if earlier else count,
            first_s=earlier.first_s if earlier else now_s,
            last_s=now_s,
        )
        if len(self._logins) > REJECTED_LOGINS_MAX:
            del self._logins[next(iter(self._logins))]
        self._has_changes = True

    async def publish(self) -> None:
        """Write the list to the store if it has changed.

        Raises:
            StoreUnavailable: call it again later.
        """
        if self._has_changes:
            fields = {"refusals": _encode(list(self._logins.values())).decode()}
            await self._store.write_status(self._heartbeat_name, fields, ttl_ms=RETENTION_S * 1000)
            self._has_changes = False


async def recent_rejected_logins(store: StatusReader) -> list[RejectedLogin]:
    """The last REJECTED_LOGINS_MAX rejected logins of all workers, newest first."""
    logins: dict[_LoginKey, RejectedLogin] = {}
    for login in _logins_in(await store.statuses()):
        key = _LoginKey(login.user, login.token, login.reason)
        earlier = logins.get(key)
        logins[key] = _merge(earlier, login) if earlier else login
    newest = sorted(logins.values(), key=lambda login: login.last_s, reverse=True)
    return newest[:REJECTED_LOGINS_MAX]


def _logins_in(heartbeats: Mapping[str, Mapping[str, str]]) -> list[RejectedLogin]:
    logins = []
    for name, fields in heartbeats.items():
        if name.startswith(REJECTED_LOGINS_PREFIX):
            logins += _decode(fields["refusals"])
    return logins


def _merge(first: RejectedLogin, second: RejectedLogin) -> RejectedLogin:
    return msgspec.structs.replace(
        first,
        count=first.count + second.count,
        first_s=min(first.first_s, second.first_s),
        last_s=max(first.last_s, second.last_s),
    )
