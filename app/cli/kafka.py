"""`dynometer kafka init`: makes the topics."""

from __future__ import annotations

import argparse

from app.config import ConfigError, Settings, parse_count, parse_duration
from app.kafka.client_settings import PARTITIONS, REPLICATION, RETENTION_S, KafkaSettings
from app.service.kafka_extra import load_kafka


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """init."""
    commands = parser.add_subparsers(dest="action", metavar="COMMAND", required=True)
    init = commands.add_parser(
        "init",
        help="make the topics that are not there, with the settings that the doctor looks for",
    )
    init.add_argument(
        "--partitions",
        type=parse_count,
        default=PARTITIONS,
        help="as many readers share the work (default: %(default)s)",
    )
    init.add_argument(
        "--replication",
        type=parse_count,
        default=REPLICATION,
        help="brokers that have each batch (default: %(default)s, of which 2 must acknowledge)",
    )
    init.add_argument(
        "--retention",
        type=parse_duration,
        default=RETENTION_S,
        metavar="7d",
        help=f"how long the store can be rebuilt from the log (default: {RETENTION_S // 86_400}d)",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """The command.

    Raises:
        ConfigError: no Kafka is named.
        StoreUnavailable: its brokers do not answer, or refuse.
    """
    if not settings.kafka:
        raise ConfigError("which Kafka? DYNOMETER_KAFKA=HOST:9092")
    topics, where = load_kafka("app.kafka.topics"), KafkaSettings.of(settings)
    wanted = topics.wanted(where, arguments.partitions, arguments.replication, arguments.retention)
    asked = topics.Topics(where)
    for sentence in asked.make(wanted, arguments.replication):
        print(sentence)
    drift = list(asked.drift(wanted))
    for sentence in drift:
        print(f"LOOK  {sentence}")
    return 1 if drift else 0
