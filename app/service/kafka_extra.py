"""Imports the modules that need the Kafka client, which is an optional dependency."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from app.config import ConfigError


def load_kafka(module: str) -> ModuleType:
    """Import a module that needs the Kafka client.

    Raises:
        ConfigError: the client is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != "confluent_kafka":
            raise
        raise ConfigError(
            "DYNOMETER_KAFKA is set, but the Kafka client is not installed. Run 'make kafka' or "
            "'pip install -r requirements-kafka.txt'."
        ) from None
