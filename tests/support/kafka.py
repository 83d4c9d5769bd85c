"""Kafka brokers for tests: a local process, or a real cluster if KAFKA_BOOTSTRAP is set."""

from __future__ import annotations

import os
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from tests.support.processes import free_port
from tests.support.servers import wait_until

BOOTSTRAP = "KAFKA_BOOTSTRAP"
START_WITHIN_S = 20.0


class Broker:
    """A broker that keeps its data over a restart."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        # Runs the program itself: a kill of its wrapper script would leave it running.
        package = find_spec("noida_db")
        assert package is not None and package.origin is not None, "pip install noida-db"
        program = Path(package.origin).parent / "noida-db"
        with (self._directory / "log").open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(program, "start", "--only", "kafka", "--kafka-port", str(self.port)),
                    *("--data-dir", self._directory / "data"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        wait_until(lambda: _answers(self.bootstrap), START_WITHIN_S)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def _answers(bootstrap: str) -> bool:
    try:
        AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=1)
    except KafkaException:
        return False
    return True


@contextmanager
def running_broker() -> Iterator[Broker]:
    with tempfile.TemporaryDirectory(prefix="dynometer-") as directory:
        broker = Broker(Path(directory))
        try:
            yield broker
        finally:
            broker.kill()


@contextmanager
def running_brokers() -> Iterator[str]:
    """Yield the bootstrap servers."""
    if bootstrap := os.environ.get(BOOTSTRAP):
        yield bootstrap
        return
    with running_broker() as broker:
        yield broker.bootstrap


def new_topic() -> str:
    """A unique topic name."""
    return f"dynometer-{uuid.uuid4().hex[:12]}"


@contextmanager
def running_mock(brokers: int = 3) -> Iterator[str]:
    """Yield the bootstrap servers of librdkafka's built-in mock cluster.

    It creates topics on first use. Its group coordinator drops members that died, which the other
    broker does not.
    """
    if bootstrap := os.environ.get(BOOTSTRAP):
        yield bootstrap
        return
    producer = Producer({"test.mock.num.brokers": brokers, "bootstrap.servers": "mock"})
    addresses = producer.list_topics(timeout=START_WITHIN_S).brokers.values()
    yield ",".join(f"{address.host}:{address.port}" for address in addresses)
