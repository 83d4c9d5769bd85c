"""An upgrade of the brokers, one at a time, while lines arrive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.kafka.client_settings import KafkaSettings
from tests.kafka.test_brokers import WITHIN_S, load, wait_until_in_sync
from tests.kafka.world import World
from tests.support.kafka import (
    ApacheKafka,
    default_version,
    fetched_versions,
    new_topic,
    running_cluster,
)
from tests.support.servers import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def old_cluster() -> Iterator[ApacheKafka]:
    with running_cluster(version=fetched_versions()[0]) as cluster:
        yield cluster


def test_lines_count_once_while_the_brokers_are_upgraded(
    old_cluster: ApacheKafka, tmp_path: Path
) -> None:
    cluster = old_cluster
    kafka = KafkaSettings(cluster.bootstrap, new_topic(), new_topic(), {})
    cluster.create_topics(kafka, 3)
    cluster.version = default_version()
    with ExitStack() as stack:
        world = World(tmp_path, kafka, stack)
        world.start_consumer()
        with load(world) as statuses:
            for node in cluster.nodes:
                before = statuses[200]
                node.stop()
                cluster.start()
                wait_until_in_sync(cluster, kafka.topic)
                wait_until(lambda before=before: statuses[200] > before + 10, WITHIN_S)  # type: ignore[misc]
            if cluster.version != fetched_versions()[0]:  # else it was restarted only
                release = ".".join(cluster.version.split(".")[:2])
                tool = "org.apache.kafka.tools.FeatureCommand"
                cluster.run_tool(tool, "upgrade", "--release-version", release)
            before = statuses[200]
            wait_until(lambda: statuses[200] > before + 10, WITHIN_S)
        world.settle()
        assert set(statuses) == {200}
