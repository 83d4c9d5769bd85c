"""`dynometer fold`: folding alone."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from types import FrameType
from typing import NoReturn

from app.config import ConfigError, Settings
from app.folding.fold_worker import Folder
from app.rollup.resolutions import resolutions
from app.service.kafka_extra import load
from app.storage import embedded
from app.storage.connect import connect
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
    url = settings.redis_url or embedded.running(settings.data_dir)
    if url is None:
        raise ConfigError(f"nothing to fold: set REDIS_URL, or start {command()} serve")
    if arguments.from_kafka:
        if not settings.kafka:
            raise ConfigError("which Kafka? DYNOMETER_KAFKA=HOST:9092")
        print("Reading the log, and folding. Stop with Ctrl-C.", file=sys.stderr)
        asyncio.run(load("app.service.kafka_fold").read_and_fold(url, settings))
        return 0
    print("Folding. Stop with Ctrl-C.", file=sys.stderr)
    asyncio.run(_fold(url, settings))
    return 0


async def _fold(url: str, settings: Settings) -> None:
    store = connect(url)
    folder = Folder(
        store,
        resolutions(settings.retention_1m_s, settings.retention_10m_s, settings.retention_1h_s),
        name=f"fold-{os.getpid()}",
        clock=time.time,
        interval_s=settings.fold_interval_s,
        batches=settings.fold_batches,
        sweep_interval_s=settings.fold_interval_s,
        caps=settings.caps,
    )
    try:
        await folder.run()
    finally:
        await store.close()


def _exit(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
