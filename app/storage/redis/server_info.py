"""Reads the fields of INFO: name and memory of the server, and settings that make it unusable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.storage.interface.server import ServerInfo

OLDEST_VERSION = (6, 2)
UNSAVED_S_MAX = 2 * 3600  # by default, a server that saves at all does so within an hour
# Others keep the start of a torn transaction: https://github.com/valkey-io/valkey/pull/4342.
FIRST_VALKEY_THAT_CUTS_TRANSACTIONS = (9, 1, 2)


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


def durability_warnings(info: Mapping[str, Any], settings: Mapping[str, str]) -> Iterator[str]:
    """What this server may lose or count twice after a crash, each a sentence with the fix.

    `settings`: its aof-load-truncated and save; hosted servers do not show them.
    """
    if not info.get("aof_enabled"):
        if settings.get("save", "unknown") == "" or (
            "save" not in settings and _saves_nothing(info)
        ):
            yield (
                "Redis loses all data at a restart: it keeps no file. Run 'redis-cli CONFIG SET "
                "appendonly yes'. If it is hosted, choose a plan that keeps data. With "
                "DYNOMETER_SECRET_KEY, drain secrets stay valid."
            )
        return
    is_fixed = _numbers(str(info.get("valkey_version", "0"))) >= FIRST_VALKEY_THAT_CUTS_TRANSACTIONS
    if settings.get("aof-load-truncated") == "yes" and not is_fixed:
        yield (
            f"After a crash, {_name(info)} may read a torn transaction from its append-only file, "
            "and count batches twice after the restart that follows. Run 'redis-cli CONFIG SET "
            "aof-load-truncated no', so that it asks for redis-check-aof --fix instead, or use "
            f"Valkey {'.'.join(map(str, FIRST_VALKEY_THAT_CUTS_TRANSACTIONS))} or newer."
        )


def _saves_nothing(info: Mapping[str, Any]) -> bool:
    """Whether a server that hides its settings has unsaved changes, and has long saved nothing."""
    now_s = int(info.get("server_time_usec", 0)) / 1e6
    is_late = now_s - int(info.get("rdb_last_save_time", now_s)) > UNSAVED_S_MAX
    return is_late and int(info.get("rdb_changes_since_last_save", 0)) > 0


def _name(info: Mapping[str, Any]) -> str:
    name = "Valkey" if "valkey_version" in info else "Redis"
    return f"{name} {info.get('valkey_version') or info.get('redis_version', '?')}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def server_info(infos: Sequence[Mapping[str, Any]], settings: Mapping[str, str]) -> ServerInfo:
    """Summarize the primaries: memory is added up; version and persistence are the first one's."""
    first = infos[0]
    limits = [int(info.get("maxmemory", 0)) for info in infos]
    return ServerInfo(
        server=_name(first) + (f", {len(infos)} primaries" if len(infos) > 1 else ""),
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
