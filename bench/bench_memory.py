"""Redis memory of an app: of one slot, folded and compacted, and of all slots together."""

from __future__ import annotations

import asyncio
from functools import partial
from random import getrandbits

import redis.asyncio

from app.ingest.received_batch import new_batch
from app.rollup.resolutions import HOUR_S
from app.storage.interface.store import Store
from app.storage.redis.keys import inbox_key
from bench.measure import table
from bench.store import RESOLUTIONS, fill, minutes, private_store

APP = "shop"
DYNOS = (1, 8)
RATES = {60: 60, 1_000: 60, 10_000: 6}  # requests a minute -> distinct minutes, then repeated
MINUTES = HOUR_S // 60
IDS, IDS_PER_CALL = 100_000, 1_000
random = partial(getrandbits, 128)


async def slot_bytes(client: redis.asyncio.Redis, resolution: str) -> float:
    """Mean size of the slots of a resolution, including keys and Redis's own overhead."""
    pattern = f"dm:{{{APP}}}:{resolution}:*"
    keys = [key async for key in client.scan_iter(pattern, count=1_000)]
    sizes = [await client.memory_usage(key, samples=0) or 0 for key in keys]
    return sum(sizes) / len(sizes)


async def id_bytes(store: Store, client: redis.asyncio.Redis) -> float:
    """Redis memory per id of a POST, including all overhead."""
    await client.flushall()
    before = int((await client.info("memory"))["used_memory"])
    for _ in range(IDS // IDS_PER_CALL):
        batches = [new_batch(b"%d" % random(), b"") for _ in range(IDS_PER_CALL)]
        await store.append({APP: batches}, id_ttl_ms=3_600_000, inbox_ttl_ms=3_600_000)
        await client.delete(inbox_key(APP))
    return (int((await client.info("memory"))["used_memory"]) - before) / IDS


async def run() -> None:
    """Print the table."""
    rows = []
    async with private_store() as (store, client):
        for dynos in DYNOS:
            for rate, distinct in RATES.items():
                await client.flushall()
                rollups = minutes(rate, dynos, distinct)
                requests = sum(sum(rollup.requests.values()) for rollup in rollups) / len(rollups)
                await fill(store, APP, rollups, MINUTES)
                sizes = [await slot_bytes(client, resolution.name) for resolution in RESOLUTIONS]
                all_slots_bytes = sum(
                    size * resolution.retention_s / resolution.seconds
                    for size, resolution in zip(sizes, RESOLUTIONS, strict=True)
                )
                rows.append(
                    (
                        dynos,
                        f"{requests:,.0f}",
                        *(f"{size:,.0f}" for size in sizes),
                        f"{all_slots_bytes / 2**20:.1f}",
                    )
                )
        size = await id_bytes(store, client)
    print(f"\nThe id of a POST: {size:.0f} bytes, kept for 75 to 150 minutes.")
    print("\n### Redis memory of one app (folded and compacted)\n")
    head = (
        "dynos",
        "requests a minute",
        "1m slot, bytes",
        "10m slot, bytes",
        "1h slot, bytes",
        "all slots (24 h, 15 d, 90 d), MiB",
    )
    print(table(head, rows))


def main() -> None:
    """Print the table."""
    asyncio.run(run())


if __name__ == "__main__":
    main()
