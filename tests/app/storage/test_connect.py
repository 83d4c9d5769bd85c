"""The Kafka client is modules only if Kafka is configured."""

from __future__ import annotations

import subprocess
import sys

ONLY_FOR_KAFKA = ("confluent_kafka", "app.kafka")
PROGRAM = """
import sys, time
from app.config import Settings
from app.service.asgi import build_app
from app.storage.connect import connect
settings = Settings.from_environ({"REDIS_URL": "redis://127.0.0.1:1"})
build_app(settings, connect(settings.redis_url), time.time)
print(*sys.modules)
"""


def test_the_service_without_kafka_does_not_load_its_client() -> None:
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    modules = set(process.stdout.split())
    assert "app.storage.redis.store" in modules
    assert modules.isdisjoint(ONLY_FOR_KAFKA)
