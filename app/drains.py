"""The registry of drains: the secrets with which each app's log lines may come."""

from __future__ import annotations

import hashlib
import re

import msgspec

SECRETS_MAX = 2  # of one app: the old and the new one while a drain is being replaced

_OLD_FORM = re.compile(r"[0-9a-f]{64}")


class Secret(msgspec.Struct):
    """What is kept of a secret. Times in Unix seconds."""

    hash: str
    generation: int  # 1 for an app's first secret, one more for each that replaces it
    added_s: int = 0
    until_s: int = 0  # not accepted from then on; 0 for no end


class Drain(msgspec.Struct):
    """An app's secrets, oldest first."""

    secrets: list[Secret]


_decode = msgspec.json.Decoder(Drain).decode


def encode(drain: Drain) -> str:
    """The record as the store keeps it."""
    return msgspec.json.encode(drain).decode()


def decode(text: str) -> Drain:
    """The drain of a record.

    Raises:
        msgspec.MsgspecError: this is no record.
    """
    if _OLD_FORM.fullmatch(text):  # only the hash, as the first versions kept it
        return Drain([Secret(text, 1)])
    return _decode(text)


def hash_secret(secret: str) -> str:
    """What is stored of a drain secret. Secrets are 32 random bytes, so a plain digest cannot be
    guessed back.
    """
    return hashlib.sha256(secret.encode()).hexdigest()
