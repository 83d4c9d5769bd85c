"""Who may read what: the admin everything, a read token the apps that it names."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from fnmatch import fnmatchcase
from typing import NamedTuple

import msgspec

from app.mirror import Mirror
from app.store.alert_port import TABLES_OF_APPS, AlertTable
from app.store.port import REFUSED, Contents, Reader, SeenApp, Slot, Store

ID_LENGTH = 8
SECRET_BYTES = 32
TOKEN = re.compile(r"dyno_([a-z0-9]{8})_[A-Za-z0-9_-]{43}")
NAME_LENGTH_MAX = 64
GLOB = re.compile(r"[a-z0-9._*?\[\]!-]{1,64}")  # of names of apps
_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class Access(NamedTuple):
    """What a request may see; `apps` are globs."""

    apps: tuple[str, ...]
    admin: bool = False

    def allows(self, app: str) -> bool:
        """Whether this app may be seen."""
        return self.admin or any(fnmatchcase(app, glob) for glob in self.apps)


ADMIN = Access((), admin=True)
NOTHING = Access(())

# Of the request that is being answered. The gate sets it; without it nothing can be read.
current: ContextVar[Access] = ContextVar("access")


class VisibleStore:
    """The store as the present request may see it: an app that it may not see does not exist. All
    that answers questions is given this one, so no route can forget it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def seen_apps(self) -> list[SeenApp]:
        """See port.Reader."""
        allows = current.get().allows
        return [seen for seen in await self._store.seen_apps() if allows(seen.app)]

    async def drains(self) -> dict[str, str]:
        """See port.Reader."""
        allows = current.get().allows
        return {app: drain for app, drain in (await self._store.drains()).items() if allows(app)}

    async def read(self, app: str, slots: Sequence[Slot], *, inbox: bool = True) -> Contents:
        """See port.Reader."""
        if not current.get().allows(app):
            return Contents([], {})
        return await self._store.read(app, slots, inbox=inbox)

    async def read_many(self, asked: Sequence[tuple[str, Sequence[Slot]]]) -> list[Contents]:
        """See port.Reader."""
        allows = current.get().allows
        visible = [each for each in asked if allows(each[0])]
        found = iter(await self._store.read_many(visible))
        return [next(found) if allows(app) else Contents([], {}) for app, _ in asked]

    async def reachable(self, apps: Sequence[str]) -> list[str]:
        """See port.Reader."""
        allows = current.get().allows
        return await self._store.reachable([app for app in apps if allows(app)])

    async def drain_states(self, apps: Sequence[str]) -> dict[str, bytes]:
        """See port.Reader."""
        allows = current.get().allows
        return await self._store.drain_states([app for app in apps if allows(app)])

    async def beats(self) -> dict[str, dict[str, str]]:
        """See port.Reader. Whom the drain refused is for the admin."""
        beats = await self._store.beats()
        if current.get().admin:
            return beats
        return {name: beat for name, beat in beats.items() if not name.startswith(REFUSED)}

    async def alert_tables(self, *tables: AlertTable) -> list[dict[str, bytes]]:
        """See alert_port.AlertReader. Whom alerts are told, and what waits, is for the admin; of
        rules, those that are about an app that may be seen.
        """
        access = current.get()
        found = await self._store.alert_tables(*tables)
        if access.admin:
            return found
        apps = [seen.app for seen in await self.seen_apps()]
        return [
            _visible_records(table, records, access, apps)
            for table, records in zip(tables, found, strict=True)
        ]

    async def alert_history(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        """See alert_port.AlertReader."""
        allows = current.get().allows
        return await self._store.alert_history([app for app in apps if allows(app)], count)


class _About(msgspec.Struct):
    """Which apps a rule is about, as globs."""

    apps: tuple[str, ...] = ()


def _visible_records(
    table: AlertTable, records: Mapping[str, bytes], access: Access, apps: Sequence[str]
) -> dict[str, bytes]:
    if table in TABLES_OF_APPS:
        return {app: record for app, record in records.items() if access.allows(app)}
    if table is AlertTable.RULES:
        return {
            name: record
            for name, record in records.items()
            if any(
                fnmatchcase(app, glob)
                for glob in msgspec.json.decode(record, type=_About).apps
                for app in apps
            )
        }
    return {}


def visible(store: Store) -> Reader:
    """A store that shows what the present request may see."""
    return VisibleStore(store)


class ReadToken(msgspec.Struct, frozen=True):
    """What is kept of a token. Times in Unix seconds; `expires_s` 0 for never."""

    hash: str
    name: str
    apps: tuple[str, ...]
    added_s: int
    expires_s: int = 0


_NOBODYS = ReadToken(hashlib.sha256(b"").hexdigest(), "", (), 0)


def new_token(
    name: str, apps: Sequence[str], added_s: int, expires_s: int = 0
) -> tuple[str, str, ReadToken]:
    """(token, its id, what is kept of it). The token itself is kept nowhere."""
    token_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(ID_LENGTH))
    token = f"dyno_{token_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return token, token_id, ReadToken(_hash(token), name, tuple(apps), added_s, expires_s)


def described(token_id: str, token: ReadToken) -> dict[str, object]:
    """A token as the API and `tokens list --json` show it: all but its secret."""
    return {
        "id": token_id,
        "name": token.name,
        "apps": list(token.apps),
        "added": token.added_s,
        "expires": token.expires_s or None,
    }


def pack_token(token: ReadToken) -> bytes:
    """As the store keeps it."""
    return msgspec.json.encode(token)


def unpack_token(data: bytes) -> ReadToken:
    """
    Raises:
        msgspec.MsgspecError: this is no token.
    """
    return msgspec.json.decode(data, type=ReadToken)


def _hash(token: str) -> str:
    """Tokens are 32 random bytes, so a plain digest cannot be guessed back."""
    return hashlib.sha256(token.encode()).hexdigest()


class ReadTokens:
    """The tokens, as this worker last read them."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._tokens = Mirror[ReadToken](self._read, clock, {})

    async def access(self, token: str) -> Access | None:
        """What a token opens; None when it is none of ours, or is no longer.

        Raises:
            StoreUnavailable: this cannot be told while the store is away.
        """
        match = TOKEN.fullmatch(token)
        if match is None:
            return None
        return self._judge(match[1], token, await self._tokens.fresh()) or self._judge(
            match[1], token, await self._tokens.latest()
        )

    def _judge(self, token_id: str, token: str, held: Mapping[str, ReadToken]) -> Access | None:
        known = held.get(token_id, _NOBODYS)
        right = hmac.compare_digest(_hash(token), known.hash)
        expired = 0 < known.expires_s <= self._clock()
        return Access(known.apps) if right and not expired else None

    async def _read(self) -> dict[str, ReadToken]:
        return {key: unpack_token(data) for key, data in (await self._store.tokens()).items()}
