"""A broker whose disk is full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # not in its __all__

from app.kafka.client_settings import KafkaSettings
from tests.kafka.test_brokers import WITHIN_S, load
from tests.kafka.world import World
from tests.support.kafka import ApacheKafka, new_topic
from tests.support.servers import wait_until

pytestmark = pytest.mark.timeout(300)

BALLAST_BYTES = 500_000


@contextmanager
def disk(directory: Path, size: str) -> Iterator[Sequence[str]]:
    """Yield a command that runs others where `directory` is a disk of its own.

    It is in a mount namespace, which needs no privileges, and ends with the process that holds it.
    """
    directory.mkdir(parents=True)
    mount = f"mount -t tmpfs -o size={size} none {directory} && echo ready && exec sleep 600"
    with subprocess.Popen(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mount], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        try:
            target = ["nsenter", "--target", str(holder.pid), "--user", "--mount"]
            yield [*target, "--preserve-credentials"]
        finally:
            holder.kill()


def test_lines_count_once_when_the_disk_of_the_broker_is_full(tmp_path: Path) -> None:
    data = tmp_path / "kafka" / "1" / "data"
    with disk(data, "24m") as prefix, ExitStack() as stack:
        cluster = ApacheKafka(tmp_path / "kafka", size=1, prefix=prefix)
        stack.callback(cluster.kill)
        cluster.start()
        kafka = KafkaSettings(cluster.bootstrap, new_topic(), new_topic(), {})
        cluster.create_topics(kafka, 1)
        world = World(tmp_path / "world", kafka, stack)
        world.start_consumer()
        with load(world) as statuses:
            wait_until(lambda: statuses[200] > 20, WITHIN_S)
            fill(cluster)
            wait_until(lambda: not cluster.nodes[0].is_running, WITHIN_S)
            before = statuses[200]
            wait_until(lambda: statuses[200] > before + 30, WITHIN_S)
            resize = ["mount", "-o", "remount,size=200m", str(data)]
            subprocess.run([*prefix, *resize], check=True)
            cluster.start()
            wait_until(lambda: world.spool_bytes == 0, WITHIN_S)
        world.settle()
        assert set(statuses) == {200}
    assert "No space left on device" in cluster.nodes[0].log


def fill(cluster: ApacheKafka) -> None:
    """Write to another topic until the broker takes no more."""
    topic = new_topic()
    admin = cluster.admin
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result()
    properties = {"bootstrap.servers": cluster.bootstrap, "delivery.timeout.ms": 3_000}
    producer = Producer({**properties, "log_level": 0})
    errors: list[object] = []
    while not errors:
        producer.produce(
            topic,
            os.urandom(BALLAST_BYTES),
            on_delivery=lambda error, _: errors.append(error) if error else None,
        )
        producer.flush(10)
