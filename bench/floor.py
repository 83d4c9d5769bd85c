"""The floor: uvicorn with the options of `dynometer serve`, and an ASGI app that discards bodies.

It runs as a process of its own; port and number of workers come from the environment.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

from app.service.serve import BACKLOG, KEEP_ALIVE_S

Message = MutableMapping[str, Any]

_START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
_BODY = {"type": "http.response.body", "body": b""}


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Read the body and answer 200."""
    while (await receive()).get("more_body"):
        pass
    await send(_START)
    await send(_BODY)


if __name__ == "__main__":
    uvicorn.run(
        "bench.floor:app",
        port=int(os.environ["PORT"]),
        workers=int(os.environ["WEB_CONCURRENCY"]),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
