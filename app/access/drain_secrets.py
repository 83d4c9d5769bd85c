"""The registry of drains: the secrets with which each app's log lines may come. Pure.

A secret is replaced without a gap: while a new drain takes over from the old one (active_drain),
both secrets hold. The old one ends RETIRED_AFTER_S after the change-over.
"""

from __future__ import annotations

import hashlib
import re
import secrets as random

import msgspec

SECRETS_MAX = 2  # of one app: the old and the new one while a drain is being replaced
RETIRED_AFTER_S = 24 * 3600
SECRET_BYTES = 32  # 256 bits, as 43 of [A-Za-z0-9_-]: Logplex takes no ":" or escapes in a password

LINKED = re.compile(r"[A-Za-z0-9._-]{1,64}")  # a drain token, or any HOSTNAME that stands for one

_OLD_FORM = re.compile(r"[0-9a-f]{64}")


class Secret(msgspec.Struct):
    """What is kept of a secret. Times in Unix seconds."""

    hash: str
    generation: int  # 1 for an app's first secret, one more for each that replaces it
    added_s: int = 0
    until_s: int = 0  # not accepted from then on; 0 for no end


class DrainRecord(msgspec.Struct, omit_defaults=True):
    """An app's secrets, oldest first, and the hashes of the drain tokens that are linked to it:
    whoever writes one as HOSTNAME of a syslog message speaks for the app.
    """

    secrets: list[Secret]
    links: list[str] = []


_decode = msgspec.json.Decoder(DrainRecord).decode


def encode(drain: DrainRecord) -> str:
    """The record as the store keeps it."""
    return msgspec.json.encode(drain).decode()


def decode(text: str) -> DrainRecord:
    """The drain of a record.

    Raises:
        msgspec.MsgspecError: this is no record.
    """
    if _OLD_FORM.fullmatch(text):  # only the hash, as the first versions kept it
        return DrainRecord([Secret(text, 1)])
    return _decode(text)


def hash_secret(secret: str) -> str:
    """What is stored of a drain secret. Secrets are 32 random bytes, so a plain digest cannot be
    guessed back.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def new_secret() -> str:
    """A secret that nobody can guess."""
    return random.token_urlsafe(SECRET_BYTES)


def first(secret: str, now_s: int, *, last: int) -> DrainRecord:
    """The drain of an app that has none. `last`: the generation that its drains had before, 0 if
    there were none: the new one takes over from them at once.
    """
    return DrainRecord([Secret(hash_secret(secret), last + 1, now_s)])


def rotated(
    drain: DrainRecord, secret: str, now_s: int, *, active: int, at_once: bool
) -> DrainRecord:
    """The drain with a new secret, which takes over when it first delivers.

    Args:
        active: generation of the secret in use, 0 if unknown: that one holds until then.
        at_once: no older secret holds any more.
    """
    newest = drain.secrets[-1]
    in_use = next((each for each in drain.secrets if each.generation == active), newest)
    kept = [] if at_once else [in_use]
    secrets = [*kept, Secret(hash_secret(secret), newest.generation + 1, now_s)]
    return DrainRecord(secrets, drain.links)


def linked(drain: DrainRecord | None, token: str) -> DrainRecord:
    """The drain of an app, or of one that has none so far, with a drain token linked to it."""
    known = drain or DrainRecord([])
    return DrainRecord(known.secrets, list(dict.fromkeys([*known.links, hash_secret(token)])))


def unlinked(drain: DrainRecord, token: str) -> DrainRecord:
    """The drain without a drain token."""
    return DrainRecord(drain.secrets, [each for each in drain.links if each != hash_secret(token)])


def retired(drain: DrainRecord, active: int, now_s: int) -> DrainRecord:
    """The drain after the change-over to the secret `active`: older ones get an end, or go."""
    kept = [each for each in drain.secrets if not 0 < each.until_s <= now_s]
    return DrainRecord(
        [
            msgspec.structs.replace(each, until_s=now_s + RETIRED_AFTER_S)
            if each.generation < active and not each.until_s
            else each
            for each in kept
        ],
        drain.links,
    )
