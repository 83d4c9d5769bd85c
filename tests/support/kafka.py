"""A cluster of Apache Kafka brokers in KRaft mode, which tests can kill, freeze and upgrade.

`make test-kafka` fetches the jars of a version to `.servers/kafka-VERSION`, and names the version
in KAFKA_VERSION. Each node is broker and controller. Clusters of three go on without one node.
"""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from app.kafka.client_settings import KafkaSettings
from app.kafka.topics import TopicAdmin, topic_specs
from tests.support.processes import ROOT, free_port
from tests.support.servers import wait_until

VERSION = "KAFKA_VERSION"
START_WITHIN_S = 90.0
STOP_WITHIN_S = 40.0
CLIENT_TIMEOUT_S = 5.0
PARTITIONS = 4
RETENTION_S = 86_400
_JARS = ROOT / ".servers"
_CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"
# A small heap, and a compiler that starts fast.
_JAVA = ("java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
# Waits that tests shorten, and memory that they need not have. The rest is Kafka's default.
_SETTINGS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "3",
    "offsets.topic.replication.factor": "3",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "3",
    "group.initial.rebalance.delay.ms": "0",
    "broker.session.timeout.ms": "6000",
    "broker.heartbeat.interval.ms": "500",
    "log.retention.check.interval.ms": "500",
    "log.initial.task.delay.ms": "500",
    "log.segment.delete.delay.ms": "100",
    "log.cleaner.backoff.ms": "200",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "log.index.size.max.bytes": "65536",
}


def _has_topics(admin: AdminClient, names: Sequence[str]) -> bool:
    topics = admin.list_topics(timeout=CLIENT_TIMEOUT_S).topics
    return all(
        name in topics and all(part.leader > 0 for part in topics[name].partitions.values())
        for name in names
    )


def new_topic() -> str:
    """A unique topic name."""
    return f"dynometer-{uuid.uuid4().hex[:12]}"


def fetched_versions() -> list[str]:
    """The versions that `make test-kafka` has fetched, oldest first."""
    versions = [path.name.removeprefix("kafka-") for path in _JARS.glob("kafka-*.*")]
    assert versions, f"{_JARS} has no Kafka: run 'make test-kafka'"
    return sorted(versions, key=lambda version: [int(part) for part in version.split(".")])


def default_version() -> str:
    """The version that `make test-kafka` runs the tests with; else the newest."""
    return os.environ.get(VERSION) or fetched_versions()[-1]


class Node:
    """A broker and controller. Its data survives that it is killed."""

    def __init__(self, number: int, directory: Path) -> None:
        self.number = number
        self.port = free_port()
        self.controller_port = free_port()
        self.directory = directory
        self.data = directory / "data"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def format(self, version: str, settings: Mapping[str, str], prefix: Sequence[str] = ()) -> None:
        """Write the settings and an empty data directory."""
        lines = {**settings, "node.id": str(self.number), "log.dirs": str(self.data)}
        text = "".join(f"{name}={value}\n" for name, value in lines.items())
        (self.directory / "properties").write_text(text)
        command = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID]
        with (self.directory / "log").open("ab") as log:
            subprocess.run(
                [*prefix, *_java(version), *command, "-c", self.directory / "properties"],
                stdout=log,
                stderr=log,
                check=True,
            )

    def change(self, **settings: str) -> None:
        """Change settings, which hold from the next start."""
        text = "".join(f"{_dotted(name)}={value}\n" for name, value in settings.items())
        with (self.directory / "properties").open("a") as properties:
            properties.write(text)

    def start(self, version: str, prefix: Sequence[str] = ()) -> None:
        """Start it. `prefix`: a command that runs the broker's command, as for `format`."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*prefix, *_java(version), "kafka.Kafka", self.directory / "properties"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End it in order: it hands its partitions over."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(STOP_WITHIN_S)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


class ApacheKafka:
    """A cluster of `size` nodes."""

    def __init__(
        self,
        directory: Path,
        *,
        size: int = 3,
        version: str = "",
        prefix: Sequence[str] = (),
        **settings: str,
    ) -> None:
        """
        Args:
            prefix: a command that runs the brokers' commands.
            settings: of the brokers, with underscores instead of dots.
        """
        self.version = version or default_version()
        self._prefix = prefix
        self.nodes = [Node(number, directory / str(number)) for number in range(1, size + 1)]
        voters = [f"{node.number}@127.0.0.1:{node.controller_port}" for node in self.nodes]
        replicas = {name: str(size) for name in _SETTINGS if name.endswith("replication.factor")}
        common = {**_SETTINGS, **replicas, "controller.quorum.voters": ",".join(voters)}
        common |= {_dotted(name): value for name, value in settings.items()}
        for node in self.nodes:
            addresses = f"PLAINTEXT://127.0.0.1:{node.port}"
            node.format(
                self.version,
                {
                    **common,
                    "advertised.listeners": addresses,
                    "listeners": f"{addresses},CONTROLLER://127.0.0.1:{node.controller_port}",
                },
                prefix,
            )

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    @property
    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def start(self) -> None:
        """Start every node that does not run, and wait until all have joined."""
        for node in self.nodes:
            if not node.is_running:
                node.start(self.version, self._prefix)
        self.wait_for_nodes(len(self.nodes))

    def wait_for_nodes(self, count: int) -> None:
        """Wait until the cluster consists of so many brokers."""
        wait_until(lambda: self._has_nodes(count), START_WITHIN_S)

    def restart_all(self, **settings: str) -> None:
        """Stop all nodes, change settings, and start them."""
        for node in self.nodes:
            node.kill()
            node.change(**settings)
        self.start()

    def kill(self) -> None:
        for node in self.nodes:
            with suppress(ProcessLookupError):
                node.kill()

    def create_topics(
        self, kafka: KafkaSettings, replication: int, partitions: int = PARTITIONS
    ) -> None:
        """Create the topics that the service needs, and wait until all nodes know them."""
        specs = topic_specs(kafka, partitions, replication, RETENTION_S)
        list(TopicAdmin(kafka).create(specs, replication))
        self.wait_for_topics(*(spec.name for spec in specs))

    def wait_for_topics(self, *names: str) -> None:
        for node in self.nodes:
            admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{node.port}", "log_level": 0})
            wait_until(lambda admin=admin: _has_topics(admin, names), START_WITHIN_S)  # type: ignore[misc]

    def node(self, number: int) -> Node:
        return self.nodes[number - 1]

    def leader(self, topic: str, partition: int = 0) -> int:
        """The number of the node that leads a partition; -1 for none."""
        try:
            metadata = self.admin.list_topics(topic, timeout=CLIENT_TIMEOUT_S)
        except KafkaException:
            return -1
        described = metadata.topics[topic].partitions.get(partition)
        return -1 if described is None else int(described.leader)

    def in_sync(self, topic: str) -> list[set[int]]:
        """The nodes in sync, for each partition of a topic."""
        try:
            metadata = self.admin.list_topics(topic, timeout=CLIENT_TIMEOUT_S)
        except KafkaException:
            return []
        partitions = metadata.topics[topic].partitions
        return [set(partitions[number].isrs) for number in sorted(partitions)]

    def run_tool(self, tool: str, *words: str) -> str:
        """The output of a tool of Kafka, such as kafka.admin.ConfigCommand."""
        command = [*_java(self.version), tool, "--bootstrap-server", self.bootstrap, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def _has_nodes(self, count: int) -> bool:
        stopped = [node for node in self.nodes if not node.is_running]
        assert len(self.nodes) - len(stopped) >= count, stopped[0].log[-2_000:]
        try:
            return len(self.admin.list_topics(timeout=1).brokers) == count
        except KafkaException:
            return False


def _dotted(name: str) -> str:
    return name.replace("_", ".")


def _java(version: str) -> list[str]:
    jars = _JARS / f"kafka-{version}"
    assert jars.is_dir(), f"{jars} does not exist: run 'make test-kafka'"
    return [*_JAVA, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{jars}/*"]


@contextmanager
def running_cluster(*, size: int = 3, version: str = "", **settings: str) -> Iterator[ApacheKafka]:
    """Yield a running cluster in a temporary directory."""
    with TemporaryDirectory(prefix="dynometer-") as directory:
        cluster = ApacheKafka(Path(directory), size=size, version=version, **settings)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.kill()


def alter(kafka: KafkaSettings, kind: ResourceType, name: str, settings: dict[str, str]) -> None:
    """Change settings of a topic or a broker."""
    entries = [
        ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
        for key, value in settings.items()
    ]
    admin = AdminClient(kafka.client_properties())
    resource = ConfigResource(kind, name, incremental_configs=entries)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()
