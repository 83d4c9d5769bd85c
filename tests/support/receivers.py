"""Real receivers of notifications on loopback: a webhook and a mail server."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import Message as Letter
from email.policy import default
from typing import Any, NamedTuple


class Received(NamedTuple):
    """A received POST."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Webhook:
    """Records POSTs.

    `answers` are the statuses of the next answers (0: no answer), then 200. `head` has additional
    header lines of the answers.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: list[int] = []
        self.head = ""
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/SECRET-PATH"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            request, *lines = head.split("\r\n")
            pairs = (line.partition(": ") for line in lines if line)
            headers = {name.lower(): value for name, _, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.received.append(Received(request.split(" ")[1], headers, body))
            status = self.answers.pop(0) if self.answers else 200
            if not status:
                await reader.read()
                return
            answer = f"HTTP/1.1 {status} Said\r\n{self.head}content-length: 0\r\n"
            writer.write(f"{answer}connection: close\r\n\r\n".encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def webhook(port: int = 0) -> AsyncIterator[Webhook]:
    hook = Webhook()
    server = await asyncio.start_server(hook.serve, "127.0.0.1", port)
    hook.port = server.sockets[0].getsockname()[1]
    try:
        yield hook
    finally:
        server.close()


class Mailbox:
    """Records e-mail.

    `greeting` is its first line. `refuses` is a reply to RCPT that replaces 250;
    `refuses_one` is a recipient that alone is refused. With `upgrade` it
    offers STARTTLS, and authentication only over TLS.
    """

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.recipients: list[str] = []
        self.credentials: list[str] = []
        self.greeting = "220 mail.example.com ESMTP"
        self.refuses = ""
        self.refuses_one = "nobody"
        self.dripping = False
        self.upgrade: ssl.SSLContext | None = None
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while self.dripping:
                writer.write(b"220-")
                await writer.drain()
                await asyncio.sleep(0.01)
            writer.write(f"{self.greeting}\r\n".encode())
            while line := (await reader.readline()).decode().rstrip():
                for reply in await self._reply(line, reader):
                    writer.write(f"{reply}\r\n".encode())
                await writer.drain()
                if line == "STARTTLS" and self.upgrade:
                    await writer.start_tls(self.upgrade)
                    self.upgrade = None
        except (ConnectionError, ssl.SSLError):
            return
        finally:
            writer.close()

    async def _reply(self, line: str, reader: asyncio.StreamReader) -> list[str]:
        verb = line.upper().split(" ")[0]
        if verb == "EHLO":
            return ["250-mail.example.com", "250 STARTTLS" if self.upgrade else "250 AUTH PLAIN"]
        if verb == "STARTTLS":
            return ["220 go on"]
        if verb == "AUTH":
            self.credentials.append(line.rsplit(" ", maxsplit=1)[-1])
            return ["235 welcome"]
        if verb == "RCPT":
            self.recipients.append(line)
            return [self.refuses or ("550 no" if self.refuses_one in line else "250 fine")]
        if verb == "DATA":
            return ["354 go on"]
        if verb in ("MAIL", "RSET", "NOOP"):
            return ["250 fine"]
        if verb == "QUIT":
            return ["221 bye"]
        rest = b""
        while not rest.endswith(b"\r\n.\r\n"):
            rest += await reader.readline()
        self.letters.append(message_from_bytes(f"{line}\r\n".encode() + rest[:-3], policy=default))
        return ["250 taken"]


@asynccontextmanager
async def mailbox(tls: ssl.SSLContext | None = None) -> AsyncIterator[Mailbox]:
    box = Mailbox()
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0, ssl=tls)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()
