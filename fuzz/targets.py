"""The fuzz targets. Each takes any bytes and raises when an invariant does not hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fuzz import drain, stored, wire

CORPUS = Path(__file__).parent / "corpus"  # one folder per target, of inputs worth keeping

TARGETS: dict[str, Callable[[bytes], None]] = {
    "aggregation": wire.aggregation,
    "batch": stored.batch,
    "body": drain.body,
    "client_text": wire.client_text,
    "framing": wire.framing,
    "framing_cost": wire.framing_cost,
    "gzip_body": drain.gzip_body,
    "heroku_logs": wire.heroku_logs,
    "packing": stored.packing,
    "platform_line": wire.platform_line,
    "received_batch": stored.received_batch,
    "section": stored.section,
    "syslog": wire.syslog,
}


def corpus_inputs(target: str) -> list[Path]:
    """The inputs in the corpus of a target."""
    return sorted(path for path in (CORPUS / target).iterdir() if path.is_file())
