"""The process `dynometer syslog`: only the syslog drain, without API and pages."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable

from app.config import Settings
from app.receivers.tls import has_certificates, reload_certificates
from app.service.wiring import build_service, build_syslog_listener, running
from app.storage.connect import connect, refuse_unsupported_data
from app.support.process import ignores_hangup


async def listen(url: str, settings: Settings, on_listening: Callable[[], None]) -> None:
    """Serve the syslog drain until SIGTERM or SIGINT. Calls `on_listening` once it accepts
    connections.
    """
    store = connect(url, replicas=settings.redis_replicas)
    try:
        await refuse_unsupported_data(store)
        service = build_service(settings, store, time.time)
    except BaseException:
        await store.close()
        raise
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listener = build_syslog_listener(service, settings)
    async with running(service), listener.listening():
        if has_certificates():
            loop.add_signal_handler(signal.SIGHUP, reload_certificates)
        elif not ignores_hangup():  # the terminal closed
            loop.add_signal_handler(signal.SIGHUP, stop.set)
        on_listening()
        await stop.wait()
