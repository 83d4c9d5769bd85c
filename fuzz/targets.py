"""Each target takes any bytes and raises when something that always holds does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fuzz import drain, stored, wire

CORPUS = Path(__file__).parent / "corpus"  # a folder for each target: inputs that reach something

TARGETS: dict[str, Callable[[bytes], None]] = {
    "arrival": stored.arrival,
    "batch": stored.batch,
    "body": drain.body,
    "client_text": wire.client_text,
    "framing": wire.framing,
    "framing_cost": wire.framing_cost,
    "gzip_body": drain.gzip_body,
    "heroku_logs": wire.heroku_logs,
    "packing": stored.packing,
    "platform_line": wire.platform_line,
    "runtime_names": wire.runtime_names,
    "section": stored.section,
    "syslog": wire.syslog,
}


def kept(target: str) -> list[Path]:
    """The inputs that are kept for a target."""
    return sorted(path for path in (CORPUS / target).iterdir() if path.is_file())
