"""`dynometer prometheus-config`: prints the section to add to prometheus.yml."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from app.cli.arguments import app_glob
from app.config import Settings
from app.support.about import command

SCRAPE_INTERVAL = "20s"  # Heroku writes the dynos' metrics every 20 seconds
TOKEN_FILE = "/etc/prometheus/dynometer.token"  # noqa: S105  a path
RULES = "/etc/prometheus/dynometer.rules.yml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --app."""
    parser.add_argument(
        "--app",
        action="append",
        default=[],
        type=app_glob,
        metavar="APP",
        help="scrape only these apps; repeatable, * and ? are wildcards (default: every app)",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the section."""
    url = settings.public_url or f"http://127.0.0.1:{settings.port}"
    print("\n".join(lines(url, arguments.app, with_token=not settings.local_mode)))
    return 0


def lines(url: str, apps: Sequence[str], *, with_token: bool) -> Iterator[str]:
    """The lines of YAML. `url`: the service's address."""
    address = urlsplit(url)
    yield "rule_files:"
    yield f"  - {RULES}  # from deploy/prometheus of Dynometer"
    yield "scrape_configs:"
    yield "  - job_name: dynometer"
    yield "    # Each series carries its Heroku app in the label 'app'. Without this line, a label"
    yield "    # 'app' of the target would replace it, and the original become 'exported_app'."
    yield "    honor_labels: true"
    yield f"    scrape_interval: {SCRAPE_INTERVAL}"
    yield f"    scheme: {address.scheme}"
    yield f"    metrics_path: {address.path.rstrip('/')}/metrics"
    if apps:
        yield "    params:"
        yield f"      app: [{', '.join(_quoted(app) for app in apps)}]"
    if with_token:
        options = "".join(f" --app {_quoted(app)}" for app in apps)
        yield f"    # {command()} tokens add --name prometheus{options} > {TOKEN_FILE}"
        yield "    authorization:"
        yield f"      credentials_file: {TOKEN_FILE}"
    yield "    static_configs:"
    yield f"      - targets: [{_quoted(address.netloc)}]"


def _quoted(text: str) -> str:
    return f"'{text}'"
