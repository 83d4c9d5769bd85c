"""End to end: POSTs to the real service, brokers, readers that are killed, a real Redis."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from app.access.drain_secrets import DrainRecord, Secret, encode, hash_secret
from app.kafka.secrets_topic import read_secrets
from tests.kafka.world import APPS, WITHIN_S, World, cli
from tests.support.processes import RedisProcess
from tests.support.servers import wait_until

pytestmark = pytest.mark.timeout(300)


def test_lines_are_counted_once_even_if_consumers_are_killed(world: World) -> None:
    consumers = [world.start_consumer(), world.start_consumer()]
    for turn in range(90):
        assert world.post(APPS[turn % len(APPS)]) == 200
        if turn % 30 == 29:
            consumers.pop(0).kill()
            consumers.append(world.start_consumer())
    world.settle()


def test_lines_that_arrive_while_redis_is_down_are_counted_later(world: World) -> None:
    world.start_consumer()
    world.post(APPS[0])
    world.settle()
    world.redis.kill()
    for turn in range(20):
        assert world.post(APPS[turn % len(APPS)]) == 200
    assert not list((world.service.directory / "data").rglob("*.spool"))  # Kafka has it
    world.redis.start()
    world.settle()


def partitions_by_member(world: World) -> list[int]:
    """How many partitions each member of the group has, sorted; empty during a rebalance."""
    admin = AdminClient(world.kafka.client_properties())
    [group] = admin.describe_consumer_groups([world.kafka.group]).values()
    description = group.result()
    if description.state is not ConsumerGroupState.STABLE:
        return []
    return sorted(len(member.assignment.topic_partitions) for member in description.members)


def test_partitions_that_moved_while_redis_was_down_are_read_when_they_come_back(
    world: World,
) -> None:
    """A reader pauses its partitions while it waits for Redis."""
    world.start_consumer()
    world.post(APPS[0])
    world.settle()
    world.redis.kill()
    for app in APPS:
        assert world.post(app) == 200
    second = world.start_consumer()
    wait_until(lambda: partitions_by_member(world) == [2, 2], WITHIN_S)
    world.redis.start()
    world.settle()
    second.kill()
    wait_until(lambda: partitions_by_member(world) == [4], WITHIN_S)
    for app in APPS:
        assert world.post(app) == 200
    world.settle()


def test_a_repeated_post_is_counted_once_and_is_a_duplicate_in_the_ledger(world: World) -> None:
    world.start_consumer()
    assert world.post(APPS[0], frame="same") == 200
    assert world.post(APPS[0], frame="same", count=False) == 200
    world.settle()
    wait_until(lambda: world.ledger(APPS[0]).get("duplicate") == 10, WITHIN_S)
    ledger = world.ledger(APPS[0])
    assert (ledger["received"], ledger["spooled"]) == (10, 0)


def test_a_new_group_changes_nothing_in_a_store_that_has_everything(world: World) -> None:
    first = world.start_consumer()
    for turn in range(20):
        world.post(APPS[turn % len(APPS)])
    world.settle()
    first.kill()
    assert world.redis.client.delete("dm:ids", "dm:ids:before") == 2
    world.start_consumer(DYNOMETER_KAFKA_GROUP="another")
    wait_until(lambda: world.consumer_counter("replayed") == 20, WITHIN_S)
    world.settle()


def test_a_store_rebuilt_from_kafka_is_equal(world: World, tmp_path: Path) -> None:
    world.start_consumer()
    for turn in range(20):
        world.post(APPS[turn % len(APPS)], frame=f"frame-{turn % 8}")  # most are repetitions
    new_redis = RedisProcess(tmp_path / "anew")
    new_redis.start()
    try:
        urls = [f"redis://127.0.0.1:{redis.port}/0" for redis in (world.redis, new_redis)]
        world.start_consumer(REDIS_URL=urls[1], DYNOMETER_KAFKA_GROUP="anew")
        for redis in (world.redis, new_redis):
            app_count = partial(redis.client.zcard, "dm:apps:last_seen")
            wait_until(lambda app_count=app_count: app_count() == len(APPS), WITHIN_S)  # type: ignore[misc]
        wait_until(lambda: cli("compare", *urls) == 0, WITHIN_S)
    finally:
        new_redis.client.close()
        new_redis.kill()


def test_metrics_show_the_lag_of_consumers(world: World) -> None:
    world.start_consumer()
    world.post(APPS[0])
    world.settle()
    wait_until(lambda: 'dynometer_log_lag_records{partition="0"}' in world.metrics(), WITHIN_S)
    assert "dynometer_log_produced_batches_total" in world.metrics()


def test_a_service_started_while_redis_is_down_knows_the_drain_secrets(world: World) -> None:
    record = encode(DrainRecord([Secret(hash_secret("right"), 1)]))
    world.redis.client.hset("dm:drains", "shop", record)
    world.service.stop()
    world.service.environ["DYNOMETER_ADMIN_TOKEN"] = "a" * 32
    world.service.start()
    wait_until(lambda: read_secrets(world.kafka).records == {"shop": record}, WITHIN_S)

    world.service.stop()
    world.redis.kill()
    shutil.rmtree(world.service.directory / "data")
    world.service.start()
    wait_until(lambda: world.answer("shop", "right") == 200, WITHIN_S)
    assert world.answer("shop", "wrong") != 200
    world.redis.start()
