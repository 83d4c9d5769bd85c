"""Answers and failures of a service, in words for people."""

from __future__ import annotations

from contextlib import suppress

import httpx2
import msgspec

from app.support.about import command
from app.support.tls_errors import tls_problem

_REASON_LENGTH_MAX = 200


class _Problem(msgspec.Struct):
    """The part of problem details (RFC 9457) that is shown."""

    detail: str


def connection_problem(url: str, error: httpx2.TransportError) -> str:
    """Why there is no answer from a service, and what to do."""
    if problem := tls_problem(error):
        return f"{url}: {problem}"
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return f"no service at {url}. Start it with {command()} serve ({failure(url, error)})"
    return f"{url} does not answer: {failure(url, error)}"


def failure(url: str, error: httpx2.TransportError) -> str:
    """The error in words. A server with TLS closes connections without it, so this is named."""
    is_plain = url.startswith("http:") and isinstance(error, httpx2.RemoteProtocolError)
    hint = "; if it expects TLS, write https://" if is_plain else ""
    return f"{str(error) or type(error).__name__}{hint}"


def error_reason(response: httpx2.Response) -> str:
    """The reason in an error answer: the detail of a problem, or the first line of its text."""
    text = response.text
    if response.headers.get("Content-Type", "").startswith("application/problem+json"):
        with suppress(msgspec.DecodeError):
            text = msgspec.json.decode(response.content, type=_Problem).detail
    return text.strip().partition("\n")[0][:_REASON_LENGTH_MAX]
