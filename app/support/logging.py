"""What the service says about itself: one line for each event worth reading, none for a request."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

HUMAN = "%(levelname)s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, pid, and the trace of an error."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
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
    """Log to stderr, as DYNOMETER_LOG_FORMAT says, and nothing of requests."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter(HUMAN))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # At "warning" every stranger's scan would fill the log.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    for library in ("httpx2", "httpcore2", "asyncio"):
        logging.getLogger(library).setLevel(logging.WARNING)
