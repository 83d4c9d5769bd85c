"""`dynometer syslog`, and `dynometer drains add --syslog`: drains over syslog."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from app.access.drain_admin import DrainAdmin
from app.access.rejected_logins import recent_rejected_logins
from app.cli.open_store import store_url
from app.cli.output import print_err
from app.config import ConfigError, Settings
from app.receivers.syslog_listener import NOT_LINKED
from app.service.syslog import listen
from app.storage.interface.status import StatusReader
from app.storage.interface.store import Store
from app.support import logging as logs
from app.support.about import command

POLL_S = 1.0


def drain_command(settings: Settings, app: str) -> str:
    """The command that adds a syslog drain to an app at Heroku.

    Raises:
        ConfigError: the service does not listen for syslog, or its address is not known.
    """
    host = urlsplit(settings.public_url).hostname if settings.public_url else None
    if host is None:
        raise ConfigError(
            "DYNOMETER_PUBLIC_URL is not set, so the host for the drain is not known: "
            "export DYNOMETER_PUBLIC_URL=https://metrics.example.com"
        )
    scheme, port = "syslog+tls", settings.syslog_tls_port
    if not port:
        scheme, port = "syslog", settings.syslog_port
    if not port:
        raise ConfigError(
            "no syslog port is set: set DYNOMETER_SYSLOG_TLS_PORT (or DYNOMETER_SYSLOG_PORT) "
            "to the same value as for the service"
        )
    return f"heroku drains:add {scheme}://{host}:{port} -a {app}"


async def add_syslog_drains(
    store: Store, settings: Settings, apps: Sequence[str], *, wait_s: float
) -> int:
    """For each app, print the command, wait for an unlinked token to appear, and offer to link it.

    A syslog drain has no secret: Heroku chooses the drain's token, which only its first line shows.
    """
    admin = DrainAdmin(store, time.time, settings.public_url, settings.secret_key)
    unlinked_apps = 0
    for app in apps:
        tokens_before = set(await _unlinked_tokens(store))
        print(drain_command(settings, app), flush=True)
        print_err(f"{app}: run that command. Waiting up to {wait_s:.0f} s for its first line …")
        tokens = await _wait_for_tokens(store, tokens_before, wait_s)
        if not tokens:
            unlinked_apps += 1
            print_err(f"{app}: no line arrived. Later: {command()} drains link {app} TOKEN")
            print_err(f"  'heroku drains -a {app}' and '{command()} drains list' show the token.")
        elif len(tokens) > 1 or not _confirm(
            f"Token {tokens[0]} appeared. Does it belong to {app}?"
        ):
            unlinked_apps += 1
            print_err(
                f"Not linked: {', '.join(tokens)}. To link one: {command()} drains link {app} TOKEN"
            )
        else:
            await admin.link(app, tokens[0])
            print_err(f"{app}: linked. Its lines are counted within 5 seconds.")
    return 1 if unlinked_apps else 0


async def _wait_for_tokens(
    store: StatusReader, tokens_before: set[str], wait_s: float
) -> list[str]:
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        tokens = [token for token in await _unlinked_tokens(store) if token not in tokens_before]
        if tokens:
            return tokens
        await asyncio.sleep(POLL_S)
    return []


async def _unlinked_tokens(store: StatusReader) -> list[str]:
    logins = await recent_rejected_logins(store)
    return [login.token for login in logins if login.reason == NOT_LINKED and login.token]


def _confirm(question: str) -> bool:
    print_err(f"{question} Type yes:")
    return sys.stdin.isatty() and sys.stdin.readline().strip() == "yes"


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Receive syslog drains until SIGINT or SIGTERM, for a store that other processes serve.

    Raises:
        ConfigError: there is no store, or no port is set.
    """
    url = store_url(settings)
    if not settings.syslog_port and not settings.syslog_tls_port:
        raise ConfigError(
            "no port is set: set DYNOMETER_SYSLOG_PORT=601 or DYNOMETER_SYSLOG_TLS_PORT=6514"
        )
    logs.set_up(settings.log_format)

    def announce() -> None:
        print_err(
            f"Listening for syslog on {settings.host} ({_ports(settings)}). Stop with Ctrl-C."
        )

    asyncio.run(listen(url, settings, announce))
    return 0


def _ports(settings: Settings) -> str:
    tcp = f"port {settings.syslog_port}" if settings.syslog_port else ""
    tls = f"port {settings.syslog_tls_port} over TLS" if settings.syslog_tls_port else ""
    return ", ".join(text for text in (tcp, tls) if text)
