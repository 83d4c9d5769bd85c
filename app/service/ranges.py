"""The ranges of time that the settings choose: how long data is kept, and which lines count."""

from __future__ import annotations

from app.config import Settings
from app.ingest.aggregator import AcceptanceWindow
from app.rollup.resolutions import Resolution, resolutions


def build_tiers(settings: Settings) -> list[Resolution]:
    """The stored resolutions, finest first."""
    return resolutions(settings.retention_1m_s, settings.retention_10m_s, settings.retention_1h_s)


def build_acceptance(settings: Settings) -> AcceptanceWindow:
    """How far in the past or future a line's time may be for it to be counted."""
    return AcceptanceWindow(settings.horizon_past_s, settings.horizon_future_s)
