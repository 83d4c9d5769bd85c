"""`dynometer fold`: folding alone."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from types import FrameType
from typing import NoReturn

from app.config import ConfigError, Settings
from app.service.fold import fold
from app.service.kafka_extra import load_kafka
from app.storage import embedded
from app.support import logging as logs
from app.support.about import command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--from-kafka."""
    parser.add_argument(
        "--from-kafka",
        action="store_true",
        help="and append what the log holds that DYNOMETER_KAFKA names; any number may do so",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Fold until SIGINT or SIGTERM, for a store that other processes append to."""
    logs.set_up(settings.log_format)
    signal.signal(signal.SIGTERM, _exit)
    url = settings.redis_url or embedded.find_running(settings.data_dir)
    if url is None:
        raise ConfigError(f"nothing to fold: set REDIS_URL, or start {command()} serve")
    if arguments.from_kafka:
        if not settings.kafka:
            raise ConfigError("which Kafka? DYNOMETER_KAFKA=HOST:9092")
        print("Reading the log, and folding. Stop with Ctrl-C.", file=sys.stderr)
        asyncio.run(load_kafka("app.service.kafka_fold").read_and_fold(url, settings))
        return 0
    print("Folding. Stop with Ctrl-C.", file=sys.stderr)
    asyncio.run(fold(url, settings))
    return 0


def _exit(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
