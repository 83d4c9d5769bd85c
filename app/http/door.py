"""Who stands at the door: a token opens what it opens, a wrong one is answered slowly."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac

from app.access import ADMIN, Access, ReadTokens

COOKIE = "dynometer_token"  # carries the token of whoever signed in with a browser
SLOW_S = 1.0  # until a wrong token is answered
SLOWED_MAX = 100  # per worker


def as_cookie(token: str) -> str:
    """A token as a cookie may hold it, whatever letters it has."""
    return base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def from_cookie(value: bytes) -> bytes:
    """The token in a cookie; b"" when it is none of ours."""
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return b""


class Door:
    """Knows the admin token and the read tokens.

    Whoever shows a wrong one waits for the answer, and only so many wait at a time; whoever shows a
    right one never waits for them.
    """

    def __init__(self, admin_token: str, tokens: ReadTokens) -> None:
        self._admin_token = admin_token.encode()
        self._tokens = tokens
        self._slowed = 0

    async def access(self, secret: bytes) -> Access | None:
        """What a token opens; None for a wrong one.

        Raises:
            StoreUnavailable: this cannot be told while the store is away.
        """
        if hmac.compare_digest(secret, self._admin_token):
            return ADMIN
        return await self._tokens.access(secret.decode("latin-1"))

    async def slow_down(self) -> bool:
        """Let somebody with a wrong token wait; False when too many do, who are turned away."""
        if self._slowed >= SLOWED_MAX:
            return False
        self._slowed += 1
        try:
            await asyncio.sleep(SLOW_S)
        finally:
            self._slowed -= 1
        return True
