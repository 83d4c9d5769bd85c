"""Drain secrets that can be verified without a store: codes of authentication under a key.

With DYNOMETER_SECRET_KEY set, a new secret is

    STORE-GENERATION-CODE       CODE = HMAC-SHA256(key, drain:APP:GENERATION:STORE), in base64url

STORE is the start of the id of the store that keeps the record. While that store has its data, the
record decides, as for random secrets: what was removed or replaced is rejected. Any other store
never had the record, so it must have been lost with the old store. Then the code proves the secret,
and the record is written again (app.access.drain_registry), with two exceptions:

    the new store has seen a newer secret of the app, or the removal of one (access_notes)
    the operator gave up what the old store had (dynometer restore --discard)

So a secret that was revoked in a store which then lost its data is accepted again, until its app
delivers with a newer secret, or the key is changed. No I/O.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from typing import NamedTuple

_STORE_LENGTH = 8
_SECRET = re.compile(r"([0-9a-f]{8})-([1-9][0-9]{0,8})-[A-Za-z0-9_-]{43}")


class DerivedSecret(NamedTuple):
    """The parts of a derived secret: the start of its store's id, and its generation."""

    store: str
    generation: int

    def is_of(self, store_id: str) -> bool:
        """Whether this store keeps its record."""
        return store_id.startswith(self.store)


def derive_secret(key: str, app: str, generation: int, store_id: str) -> str:
    """The secret of a generation of an app, issued by this store."""
    store = store_id[:_STORE_LENGTH]
    code = hmac.digest(key.encode(), f"drain:{app}:{generation}:{store}".encode(), "sha256")
    return f"{store}-{generation}-{urlsafe_b64encode(code).decode().rstrip('=')}"


def verify_derived(key: str, app: str, secret: str) -> DerivedSecret | None:
    """The parts of this secret of an app; None if it was not derived with this key."""
    match = _SECRET.fullmatch(secret)
    if not key or match is None:
        return None
    claim = DerivedSecret(match[1], int(match[2]))
    expected = derive_secret(key, app, claim.generation, claim.store)
    return claim if hmac.compare_digest(secret, expected) else None
