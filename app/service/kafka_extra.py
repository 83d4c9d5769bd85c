"""What DYNOMETER_KAFKA asks for comes from an extra of its own, and is loaded only then."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from app.config import ConfigError


def load(name: str) -> ModuleType:
    """A module of app.kafka.

    Raises:
        ConfigError: the client is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != "confluent_kafka":
            raise
        raise ConfigError(
            "DYNOMETER_KAFKA is set, and Kafka's client is not installed: run 'make kafka', or "
            "pip install -r requirements-kafka.txt"
        ) from None
