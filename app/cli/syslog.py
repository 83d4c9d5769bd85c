"""`dynometer drains add --syslog | link | unlink`, and `dynometer syslog`: drains over syslog."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from app.access.drain_admin import DrainAdmin
from app.access.rejected_logins import RejectedLogin, recent_rejected_logins
from app.config import ConfigError, Settings
from app.receivers.syslog_listener import NOT_LINKED
from app.service.syslog import listen
from app.storage import embedded
from app.storage.interface import Store
from app.support import logging as logs
from app.support.about import command

POLL_S = 1.0


def drain_command(settings: Settings, app: str) -> str:
    """What to run at Heroku for a syslog drain of an app.

    Raises:
        ConfigError: the service does not listen for syslog, or its address is not known.
    """
    host = urlsplit(settings.public_url).hostname if settings.public_url else None
    if host is None:
        raise ConfigError(
            "DYNOMETER_PUBLIC_URL is not set: Heroku must know the service's host, "
            "as in export DYNOMETER_PUBLIC_URL=https://metrics.example.com"
        )
    scheme, port = "syslog+tls", settings.syslog_tls_port
    if not port:
        scheme, port = "syslog", settings.syslog_port
    if not port:
        raise ConfigError(
            "set DYNOMETER_SYSLOG_TLS_PORT (or DYNOMETER_SYSLOG_PORT) as the service has it"
        )
    return f"heroku drains:add {scheme}://{host}:{port} -a {app}"


async def adopt(store: Store, settings: Settings, apps: Sequence[str], *, wait_s: float) -> int:
    """Print the command for each app, wait for the token that appears, and offer to link it."""
    enrolment = DrainAdmin(store, time.time, settings.public_url)
    missing = 0
    for app in apps:
        before = {each.token for each in await _unlinked(store)}
        print(drain_command(settings, app), flush=True)
        _say(f"{app}: run that command; its first line is waited for, up to {wait_s:.0f} s …")
        found = await _appeared(store, before, wait_s)
        if not found:
            missing += 1
            _say(f"{app}: nothing came. Later: {command()} drains link {app} TOKEN, with the token")
            _say(f"  that 'heroku drains -a {app}' and '{command()} drains list' show.")
        elif len(found) > 1 or not _confirmed(f"{found[0]} appeared. Is it {app}'s?"):
            missing += 1
            _say(f"not linked: {', '.join(found)}. To do it: {command()} drains link {app} TOKEN")
        else:
            await enrolment.link(app, found[0])
            _say(f"{app}: linked; its lines count within 5 seconds.")
    return 1 if missing else 0


async def _appeared(store: Store, before: set[str], wait_s: float) -> list[str]:
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        found = [each.token for each in await _unlinked(store) if each.token not in before]
        if found:
            return found
        await asyncio.sleep(POLL_S)
    return []


async def _unlinked(store: Store) -> list[RejectedLogin]:
    refusals = await recent_rejected_logins(store)
    return [each for each in refusals if each.reason == NOT_LINKED and each.token]


def _confirmed(question: str) -> bool:
    _say(f"{question} Type yes:")
    return sys.stdin.isatty() and sys.stdin.readline().strip() == "yes"


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """The command `dynometer syslog`: the syslog drain alone, for a store that others serve.

    Raises:
        ConfigError: no store is known, or no port.
    """
    url = settings.redis_url or embedded.find_running(settings.data_dir)
    if url is None:
        raise ConfigError(f"no store: set REDIS_URL, or start {command()} serve")
    if not settings.syslog_port and not settings.syslog_tls_port:
        raise ConfigError("which port? DYNOMETER_SYSLOG_PORT=601, DYNOMETER_SYSLOG_TLS_PORT=6514")
    logs.set_up(settings.log_format)

    def announce() -> None:
        _say(f"Listening for syslog on {settings.host} ({_ports(settings)}). Stop with Ctrl-C.")

    asyncio.run(listen(url, settings, announce))
    return 0


def _ports(settings: Settings) -> str:
    plain = f"port {settings.syslog_port}" if settings.syslog_port else ""
    tls = f"port {settings.syslog_tls_port} over TLS" if settings.syslog_tls_port else ""
    return ", ".join(each for each in (plain, tls) if each)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
