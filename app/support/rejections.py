"""Counts what the limits of the service reject, and logs it at most once a minute."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 60.0

# What is rejected, by the value of the label `reason` in the metric.
REASONS = {
    "connections": "connections, because too many were open",
    "handshakes": "TLS connections whose handshake did not end in time",
    "buffers": "connections, because too much of theirs waited to be read or answered",
    "pipeline": "connections that sent too many requests without reading an answer",
    "bodies": "request bodies, because too many were in memory",
    "syslog_connections": "syslog connections, because too many were open",
    "syslog_messages": "syslog connections whose drain token is linked to no app",
    "proxy_headers": "syslog connections without a PROXY header, which only a proxy sends "
    "(see DYNOMETER_SYSLOG_PROXY_PROTOCOL=0)",
}


class Rejections:
    """The rejections of this process, by reason."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts = dict.fromkeys(REASONS, 0)
        self._logged_counts = dict(self._counts)
        self._logged_s = dict.fromkeys(REASONS, -LOG_INTERVAL_S)

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each reason of REASONS occurred since the start."""
        return self._counts

    def add(self, reason: str) -> None:
        """Count one rejection. The first one is logged at once, the next ones together later."""
        self._counts[reason] += 1
        now_s = self._clock()
        if now_s - self._logged_s[reason] < LOG_INTERVAL_S:
            return
        self._logged_s[reason] = now_s
        number = self._counts[reason] - self._logged_counts[reason]
        self._logged_counts[reason] = self._counts[reason]
        log.warning(
            "Rejected %d %s. The limits are in docs/limits.md; dynometer_rejected_total counts on.",
            number,
            REASONS[reason],
        )
