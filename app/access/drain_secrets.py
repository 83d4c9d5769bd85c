"""The secrets with which each app's drains authenticate. No I/O.

A secret is replaced without a gap: both secrets are valid while a new drain takes over from the old
one (app.access.drain_election). The old one expires RETIRED_AFTER_S after the changeover.
"""

from __future__ import annotations

import hashlib
import re
import secrets as random
from collections.abc import Sequence

import msgspec

SECRETS_MAX = 2  # of one app: the old and the new one while a drain is being replaced
RETIRED_AFTER_S = 24 * 3600
SECRET_BYTES = 32  # as 43 characters of [A-Za-z0-9_-]: Logplex accepts no : or escapes in passwords

DRAIN_TOKEN = re.compile(r"[A-Za-z0-9._-]{1,64}")  # or any other HOSTNAME that identifies a drain

_LEGACY_RECORD = re.compile(r"[0-9a-f]{64}")


class Secret(msgspec.Struct):
    """The record of a secret. Times in Unix seconds."""

    hash: str
    generation: int  # 1 for an app's first secret, one more for each that replaces it
    added_s: int = 0
    until_s: int = 0  # not accepted from then on; 0 for no end


class DrainRecord(msgspec.Struct, omit_defaults=True):
    """The secrets and linked drain tokens of an app, as the store keeps them.

    Attributes:
        secrets: oldest first.
        links: hashes of drain tokens. A syslog message with one as HOSTNAME belongs to the app.
        apps: of a space-level drain, the apps whose lines it may deliver; empty for an app's drain.
    """

    secrets: list[Secret]
    links: list[str] = []
    apps: list[str] = []


_decode = msgspec.json.Decoder(DrainRecord).decode


def encode(drain: DrainRecord) -> str:
    """Encode a record for the store."""
    return msgspec.json.encode(drain).decode()


def decode(text: str) -> DrainRecord:
    """Decode a record from the store.

    Raises:
        msgspec.MsgspecError: the text is no record.
    """
    if _LEGACY_RECORD.fullmatch(text):  # the first versions stored only the hash
        return DrainRecord([Secret(text, 1)])
    return _decode(text)


def hash_secret(secret: str) -> str:
    """The digest of a secret or drain token, as it is stored.

    A plain digest suffices: secrets are 32 random bytes, too many to try.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def new_secret() -> str:
    """A random secret for a drain URL."""
    return random.token_urlsafe(SECRET_BYTES)


def newest_generation(drain: DrainRecord) -> int:
    """The newest generation of an app's secrets; 0 for none."""
    return max((entry.generation for entry in drain.secrets), default=0)


def create_record(
    secret: str, now_s: int, *, last_generation: int, apps: Sequence[str] = ()
) -> DrainRecord:
    """The record with an app's first secret.

    `last_generation`: the newest generation that the app's drains had before; 0 for none. The new
    secret gets a newer one, so that its drain takes over from them. `apps`: of a space.
    """
    entry = Secret(hash_secret(secret), last_generation + 1, now_s)
    return DrainRecord([entry], apps=list(apps))


def rotate_secret(
    drain: DrainRecord, secret: str, now_s: int, *, active_generation: int, at_once: bool
) -> DrainRecord:
    """Add a new secret, whose drain takes over when it first delivers.

    Args:
        active_generation: of the secret in use; 0 if unknown. That secret stays valid until then.
        at_once: no older secret stays valid.
    """
    newest = drain.secrets[-1]
    in_use = next((old for old in drain.secrets if old.generation == active_generation), newest)
    old_secrets = [] if at_once else [in_use]
    secrets = [*old_secrets, Secret(hash_secret(secret), newest.generation + 1, now_s)]
    return msgspec.structs.replace(drain, secrets=secrets)


def link_token(drain: DrainRecord | None, token: str) -> DrainRecord:
    """Link a drain token to an app; `drain` is None if the app has no record yet."""
    record = drain or DrainRecord([])
    links = list(dict.fromkeys([*record.links, hash_secret(token)]))
    return msgspec.structs.replace(record, links=links)


def unlink_token(drain: DrainRecord, token: str) -> DrainRecord:
    """Remove the link of a drain token."""
    links = [link for link in drain.links if link != hash_secret(token)]
    return msgspec.structs.replace(drain, links=links)


def retire_secrets(drain: DrainRecord, active_generation: int, now_s: int) -> DrainRecord:
    """Set an expiry on secrets older than the active one, and remove expired ones."""
    valid_secrets = [entry for entry in drain.secrets if not 0 < entry.until_s <= now_s]
    return msgspec.structs.replace(
        drain,
        secrets=[
            msgspec.structs.replace(entry, until_s=now_s + RETIRED_AFTER_S)
            if entry.generation < active_generation and not entry.until_s
            else entry
            for entry in valid_secrets
        ],
    )
