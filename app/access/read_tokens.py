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

from app.access.cached_copy import CachedCopy
from app.storage.interface import Store

ID_LENGTH = 8
SECRET_BYTES = 32
TOKEN = re.compile(r"dyno_([a-z0-9]{8})_[A-Za-z0-9_-]{43}")
NAME_LENGTH_MAX = 64
GLOB = re.compile(r"[a-z0-9._*?\[\]!-]{1,64}")  # of names of apps
_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class Permissions(NamedTuple):
    """What a request may see; `apps` are globs."""

    apps: tuple[str, ...]
    admin: bool = False

    def allows(self, app: str) -> bool:
        """Whether this app may be seen."""
        return self.admin or any(fnmatchcase(app, glob) for glob in self.apps)


ADMIN = Permissions((), admin=True)
NOTHING = Permissions(())

# Of the request that is being answered. The gate sets it; without it nothing can be read.
current: ContextVar[Permissions] = ContextVar("access")


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


def public_fields(token_id: str, token: ReadToken) -> dict[str, object]:
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
        self._tokens = CachedCopy[ReadToken](self._read, clock, {})

    async def access(self, token: str) -> Permissions | None:
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

    def _judge(
        self, token_id: str, token: str, held: Mapping[str, ReadToken]
    ) -> Permissions | None:
        known = held.get(token_id, _NOBODYS)
        right = hmac.compare_digest(_hash(token), known.hash)
        expired = 0 < known.expires_s <= self._clock()
        return Permissions(known.apps) if right and not expired else None

    async def _read(self) -> dict[str, ReadToken]:
        return {key: unpack_token(data) for key, data in (await self._store.tokens()).items()}
