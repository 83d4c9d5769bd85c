"""Reads the fields of INFO: name and memory of the server, and settings that make it unusable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.storage.interface.server import ServerInfo

OLDEST_VERSION = (6, 2)


def problems_of(info: Mapping[str, Any]) -> Iterator[str]:
    """Reasons why this server must not be used, each a sentence with the fix."""
    version = str(info.get("valkey_version") or info.get("redis_version", "0.0"))
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        yield f"Redis {version} is too old. Upgrade it to {oldest} or newer."
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield (
            f"The maxmemory-policy of Redis is {policy}: it discards acknowledged data when memory "
            "is full. Run 'redis-cli CONFIG SET maxmemory-policy noeviction', at Heroku "
            "'heroku redis:maxmemory INSTANCE --policy noeviction'."
        )


def server_info(infos: Sequence[Mapping[str, Any]], settings: Mapping[str, str]) -> ServerInfo:
    """Summarize the primaries: memory is added up; version and persistence are the first one's."""
    first = infos[0]
    limits = [int(info.get("maxmemory", 0)) for info in infos]
    name = "Valkey" if "valkey_version" in first else "Redis"
    version = first.get("valkey_version") or first.get("redis_version", "?")
    return ServerInfo(
        server=f"{name} {version}" + (f", {len(infos)} primaries" if len(infos) > 1 else ""),
        bytes_used=sum(int(info.get("used_memory", 0)) for info in infos),
        bytes_max=sum(limits) if all(limits) else 0,
        persistence=_persistence(bool(first.get("aof_enabled")), settings),
        time_s=int(first.get("server_time_usec", 0)) / 1e6,
    )


def _persistence(append_only: bool, settings: Mapping[str, str]) -> str:
    if append_only:
        return f"append-only file, synced {settings.get('appendfsync', 'as its operator chose')}"
    if settings.get("save", "unknown"):  # hosted servers do not show their settings
        return "periodic snapshots"
    return ""
