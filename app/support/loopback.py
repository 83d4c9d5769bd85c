"""Recognizes host names and addresses of this machine."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

HOST_LENGTH_MAX = 64  # of localhost or an address with a port; longer ones are not cached


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is localhost, in 127.0.0.0/8, or ::1."""
    return len(host) <= HOST_LENGTH_MAX and _is_loopback(host)


@lru_cache(maxsize=256)
def _is_loopback(host: str) -> bool:
    name = host.strip().lower()
    if name.startswith("["):
        name, _, port = name[1:].partition("]")
        if port and not re.fullmatch(r":[0-9]{1,5}", port):
            return False
    elif name.count(":") == 1:
        name, _, port = name.partition(":")
        if not re.fullmatch(r"[0-9]{1,5}", port):
            return False
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
