"""Redis behind sentinels, and batches that replicas must acknowledge.

The contract of the store is tested in test_contract.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from app.storage import connect as engine
from app.storage.interface.batches import Outcome
from app.storage.interface.errors import StoreUnavailable
from app.storage.redis.keys import inbox_key
from tests.support.batches import again, append, append_when_taken, batch
from tests.support.cluster import SentinelSetup, running_sentinels


@pytest.fixture
def disposable_sentinels() -> Iterator[SentinelSetup]:
    """Sentinels, primary and replica that a test may break."""
    with running_sentinels() as sentinel:
        yield sentinel


async def test_the_new_primary_is_found_after_a_failure(
    disposable_sentinels: SentinelSetup,
) -> None:
    store = engine.connect(disposable_sentinels.url)
    first = batch()
    await append(store, "shop", first)
    assert not any("replica" in text for text in await store.warnings())
    disposable_sentinels.primary.kill()

    result = await append_when_taken(store, "shop", again(first))
    assert result.outcomes == [Outcome.DUPLICATE]
    assert disposable_sentinels.replica.client.llen(inbox_key("shop")) == 1
    await store.close()


async def test_a_batch_that_no_replica_acknowledges_is_not_stored_however_often_it_is_sent(
    disposable_sentinels: SentinelSetup,
) -> None:
    store = engine.connect(disposable_sentinels.url, replicas=1)
    assert (await append(store, "shop", batch())).outcomes == [Outcome.STORED]
    disposable_sentinels.replica.freeze()
    pending = batch()
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        await append(store, "shop", pending)
    second_store = engine.connect(
        disposable_sentinels.url, replicas=1
    )  # its connection has written nothing yet
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        await append(second_store, "shop", pending)
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        await append(second_store, "shop", again(pending))

    disposable_sentinels.replica.thaw()
    assert (await append(second_store, "shop", pending)).outcomes == [Outcome.OWN_RETRY]
    assert disposable_sentinels.replica.client.llen(inbox_key("shop")) == 2
    await second_store.close()
    await store.close()


async def test_commands_wait_for_a_free_connection(sentinel: SentinelSetup) -> None:
    store = engine.connect(sentinel.url, connections_max=2)
    results = await asyncio.gather(*(store.problems() for _ in range(20)))
    assert results == [[]] * 20
    await store.close()


async def test_too_few_replicas_are_a_warning(disposable_sentinels: SentinelSetup) -> None:
    store = engine.connect(disposable_sentinels.url, replicas=2)
    assert "DYNOMETER_REDIS_REPLICAS" in " ".join(await store.warnings())
    await store.close()
