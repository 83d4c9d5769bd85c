"""The service's own log: one line for each noteworthy event, none for a request."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

HUMAN = "%(levelname)s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, pid, and trace for an exception."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        if record.exc_info:
            event["trace"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False)


def set_up(log_format: str) -> None:
    """Log to stderr in the format of DYNOMETER_LOG_FORMAT."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter(HUMAN))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # At "warning", uvicorn logs each malformed request: any port scan would fill the log.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    for library in ("httpx2", "httpcore2", "asyncio"):
        logging.getLogger(library).setLevel(logging.WARNING)
