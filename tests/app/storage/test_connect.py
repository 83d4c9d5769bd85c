"""Who uses one Redis loads nothing of what others use."""

from __future__ import annotations

import subprocess
import sys

ONLY_FOR_OTHERS = (
    *(
        "app.storage.redis.cluster",
        "app.storage.redis.sentinel",
        "app.storage.redis.slot_map",
        "app.storage.redis.urls",
    ),
    *("app.ingest.shard_writers", "confluent_kafka", "app.kafka"),
)
PROGRAM = """
import sys, time
from app.config import Settings
from app.service.asgi import build
from app.storage.connect import connect
settings = Settings.from_environ({"REDIS_URL": "redis://127.0.0.1:1"})
build(settings, connect(settings.redis_url), time.time)
print(*sys.modules)
"""


def test_the_service_on_one_redis_loads_no_other_engine() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    loaded = set(ran.stdout.split())
    assert "app.storage.redis.store" in loaded
    assert loaded.isdisjoint(ONLY_FOR_OTHERS)
