"""`dynometer kafka init`: creates the topics."""

from __future__ import annotations

import argparse

from app.cli.arguments import argument, duration
from app.config import ConfigError, Settings, parse_count
from app.kafka.client_settings import PARTITIONS, REPLICATION, RETENTION_S, KafkaSettings
from app.service.kafka_extra import load_kafka


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand init."""
    commands = parser.add_subparsers(dest="action", metavar="COMMAND", required=True)
    init = commands.add_parser(
        "init", help="create missing topics, and report settings that differ from the expected ones"
    )
    init.add_argument(
        "--partitions",
        type=argument(parse_count),
        default=PARTITIONS,
        help="number of partitions, which limits how many readers share the work "
        "(default: %(default)s)",
    )
    init.add_argument(
        "--replication",
        type=argument(parse_count),
        default=REPLICATION,
        help="number of brokers that hold each batch "
        "(default: %(default)s, of which 2 must acknowledge)",
    )
    init.add_argument(
        "--retention",
        type=duration,
        default=RETENTION_S,
        metavar="7d",
        help="how far back the store can be rebuilt from the log "
        f"(default: {RETENTION_S // 86_400}d)",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Return 1 if an existing topic differs from the expected settings.

    Raises:
        ConfigError: no Kafka is configured.
        StoreUnavailable: the brokers do not answer, or reject a request.
    """
    if not settings.kafka:
        raise ConfigError("no Kafka is configured: set DYNOMETER_KAFKA=HOST:9092")
    topics, kafka = load_kafka("app.kafka.topics"), KafkaSettings.from_settings(settings)
    specs = topics.topic_specs(
        kafka, arguments.partitions, arguments.replication, arguments.retention
    )
    admin = topics.TopicAdmin(kafka)
    existing_topics = admin.partition_counts()
    for sentence in admin.create(specs, arguments.replication):
        print(sentence)
    # Not every broker knows the new topics yet, and their settings are as asked for.
    differences = list(admin.differences([spec for spec in specs if spec.name in existing_topics]))
    for sentence in differences:
        print(f"WARN  {sentence}")
    return 1 if differences else 0
