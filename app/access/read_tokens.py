"""Read tokens, and the permissions of a request: an admin sees all apps, a token those it names."""

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

from app.access.access_copy import AccessCopy

ID_LENGTH = 8
SECRET_BYTES = 32
TOKEN = re.compile(r"dyno_([a-z0-9]{8})_[A-Za-z0-9_-]{43}")
NAME_LENGTH_MAX = 64
APP_GLOB = re.compile(r"[a-z0-9._*?\[\]!-]{1,64}")  # matches names of apps
_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class Permissions(NamedTuple):
    """The apps that a request may see, as globs; all if `admin`."""

    apps: tuple[str, ...]
    admin: bool = False

    def allows(self, app: str) -> bool:
        """Whether the request may see this app."""
        return self.admin or any(fnmatchcase(app, glob) for glob in self.apps)


ADMIN = Permissions((), admin=True)
NOTHING = Permissions(())

# Permissions of the request being answered. The authentication middleware sets them; reading
# without them is a LookupError.
current_permissions: ContextVar[Permissions] = ContextVar("permissions")


class ReadToken(msgspec.Struct, frozen=True):
    """The record of a token. Times in Unix seconds; `expires_s` is 0 for never."""

    hash: str
    name: str
    apps: tuple[str, ...]
    added_s: int
    expires_s: int = 0


_DUMMY_TOKEN = ReadToken(hashlib.sha256(b"").hexdigest(), "", (), 0)


def new_token(
    name: str, apps: Sequence[str], added_s: int, expires_s: int = 0
) -> tuple[str, str, ReadToken]:
    """(token, its id, its record). The token itself is not stored anywhere."""
    token_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(ID_LENGTH))
    token = f"dyno_{token_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return token, token_id, ReadToken(_hash(token), name, tuple(apps), added_s, expires_s)


def public_fields(token_id: str, token: ReadToken) -> dict[str, object]:
    """A token as the API and `tokens list --json` show it, without its secret."""
    return {
        "id": token_id,
        "name": token.name,
        "apps": list(token.apps),
        "added": token.added_s,
        "expires": token.expires_s or None,
    }


def pack_token(token: ReadToken) -> bytes:
    """Encode a record for the store."""
    return msgspec.json.encode(token)


def unpack_token(data: bytes) -> ReadToken:
    """Decode a record from the store.

    Raises:
        msgspec.MsgspecError: the bytes are no record of a token.
    """
    return msgspec.json.decode(data, type=ReadToken)


def _hash(token: str) -> str:
    """A plain digest suffices: tokens are 32 random bytes, too many to try."""
    return hashlib.sha256(token.encode()).hexdigest()


class ReadTokens:
    """Checks read tokens against this worker's copy of the records."""

    def __init__(self, access: AccessCopy, clock: Callable[[], float]) -> None:
        self._access = access
        self._clock = clock

    async def permissions_of(self, token: str) -> Permissions | None:
        """The permissions of a token; None if it is unknown or has expired.

        Raises:
            StoreUnavailable: the token is not in the copy, and the store cannot be read, or has
                lost its data.
        """
        match = TOKEN.fullmatch(token)
        if match is None:
            return None
        access = await self._access.fresh()
        permissions = self._check(match[1], token, access.tokens)
        if permissions is None:
            access = await self._access.latest()
            permissions = self._check(match[1], token, access.tokens)
        if permissions is None:
            access.refuse_to_reject()
        return permissions

    def _check(self, token_id: str, token: str, tokens: Mapping[str, bytes]) -> Permissions | None:
        record = unpack_token(tokens[token_id]) if token_id in tokens else _DUMMY_TOKEN
        is_match = hmac.compare_digest(_hash(token), record.hash)
        is_expired = 0 < record.expires_s <= self._clock()
        return Permissions(record.apps) if is_match and not is_expired else None
