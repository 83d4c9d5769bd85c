"""An hour of a simulated app's lines that ends now."""

from __future__ import annotations

import time

import httpx2

from app.traffic.simulated_app import SimulatedApp
from bench.corpus import joined

LINES_PER_S = 4.0
DYNOS = 4


def hour(app: str, seed: int, *, until_s: float = 0, seconds: float = 3_600) -> list[bytes]:
    """The frames of `seconds` up to `until_s`, by default up to now."""
    until_s = until_s or time.time()
    frames = []
    app_simulation = SimulatedApp(app, dynos=DYNOS, lines_per_s=LINES_PER_S, seed=seed)
    for line in app_simulation.lines(until_s - seconds):
        if line.at_s >= until_s:
            break
        frames.append(line.frame)
    return frames


def send(url: str, app: str, frames: list[bytes]) -> None:
    """POST them to a service in local mode."""
    with httpx2.Client(base_url=url, trust_env=False, timeout=30) as client:
        for body in joined(frames, 500):
            assert client.post("/drain", content=body, auth=(app, "any")).status_code == 200
