"""Since when log lines wait on the disks of workers: the minutes from then on are not complete."""

from __future__ import annotations

from collections.abc import Mapping

from app.storage.interface.status import StatusReader

SPOOLING = "spool:"  # prefix of the heartbeats of workers with lines that wait on disk


async def read_spooling_since(store: StatusReader) -> int:
    """Since when lines wait on disk, by the workers' heartbeats. Unix seconds, 0 if none wait.

    Raises:
        StoreUnavailable
    """
    return earliest_start(await store.statuses(), SPOOLING)


def earliest_start(heartbeats: Mapping[str, Mapping[str, str]], prefix: str) -> int:
    """The earliest `since_s` of the heartbeats with this prefix; 0 if none has one."""
    starts_s = [
        int(fields["since_s"]) for name, fields in heartbeats.items() if name.startswith(prefix)
    ]
    return min((start_s for start_s in starts_s if start_s), default=0)
