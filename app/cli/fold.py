"""`dynometer fold`: folds the batches that other processes append, and does nothing else."""

from __future__ import annotations

import argparse
import asyncio

from app.cli.open_store import store_url
from app.cli.output import print_err
from app.config import ConfigError, Settings
from app.service.fold import fold
from app.service.kafka_extra import load_kafka
from app.support import logging as logs
from app.support.process import exit_on_signals


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --from-kafka."""
    parser.add_argument(
        "--from-kafka",
        action="store_true",
        help="also copy batches from the Kafka log of DYNOMETER_KAFKA into the store; "
        "any number of processes may do so",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Fold until SIGINT or SIGTERM.

    Raises:
        ConfigError: there is no store, or no Kafka is configured.
    """
    logs.set_up(settings.log_format)
    exit_on_signals()
    url = store_url(settings)
    if arguments.from_kafka:
        if not settings.kafka:
            raise ConfigError("no Kafka is configured: set DYNOMETER_KAFKA=HOST:9092")
        print_err("Copying batches from Kafka, and folding. Stop with Ctrl-C.")
        asyncio.run(load_kafka("app.service.kafka_fold").read_and_fold(url, settings))
        return 0
    print_err("Folding. Stop with Ctrl-C.")
    asyncio.run(fold(url, settings))
    return 0
