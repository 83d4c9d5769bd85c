"""`dynometer prometheus-config`: what goes into prometheus.yml, ready to paste."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from app.access.read_tokens import APP_GLOB
from app.config import Settings
from app.support.about import command

SCRAPE_INTERVAL = "20s"  # Heroku writes the dynos' metrics every 20 seconds
TOKEN_FILE = "/etc/prometheus/dynometer.token"  # noqa: S105  a path
RULES = "/etc/prometheus/dynometer.rules.yml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which apps."""
    parser.add_argument(
        "--app",
        action="append",
        default=[],
        type=_glob,
        metavar="APP",
        help="scrape only these; repeats, and may hold * and ?. Without it: every app",
    )


def _glob(text: str) -> str:
    if not APP_GLOB.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no app's name or pattern, as shop or blog-*")
    return text


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """The command."""
    url = settings.public_url or f"http://127.0.0.1:{settings.port}"
    print("\n".join(lines(url, arguments.app, with_token=not settings.local_mode)))
    return 0


def lines(url: str, apps: Sequence[str], *, with_token: bool) -> Iterator[str]:
    """Of YAML. `url`: at which the service is reached."""
    address = urlsplit(url)
    yield "rule_files:"
    yield f"  - {RULES}  # from deploy/prometheus of Dynometer"
    yield "scrape_configs:"
    yield "  - job_name: dynometer"
    yield "    # The series say themselves which Heroku app they are of. Without this line a label"
    yield "    # 'app' of the target would take its place, and theirs become 'exported_app'."
    yield "    honor_labels: true"
    yield f"    scrape_interval: {SCRAPE_INTERVAL}"
    yield f"    scheme: {address.scheme}"
    yield f"    metrics_path: {address.path.rstrip('/')}/metrics"
    if apps:
        yield "    params:"
        yield f"      app: [{', '.join(_quoted(app) for app in apps)}]"
    if with_token:
        named = "".join(f" --app {_quoted(app)}" for app in apps)
        yield f"    # {command()} tokens add --name prometheus{named} > {TOKEN_FILE}"
        yield "    authorization:"
        yield f"      credentials_file: {TOKEN_FILE}"
    yield "    static_configs:"
    yield f"      - targets: [{_quoted(address.netloc)}]"


def _quoted(text: str) -> str:
    return f"'{text}'"
