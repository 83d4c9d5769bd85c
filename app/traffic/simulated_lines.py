"""The lines of a Heroku app's log stream, written as Logplex puts them into a drain.

Pure text: names, numbers and a time in, frames out. Nothing here is shared with the parsers, so
that a simulation is an independent witness of what they read.

    COUNT SP <PRI>1 SP TIMESTAMP SP host SP APPNAME SP PROCID SP - SP MSG NEWLINE     (no structured
    data)

Times have up to six fraction digits, trailing zeros cut, as Heroku's Go encoder writes them.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

PRI_APP = 190  # local7.info
PRI_API = 134
PRI_DYNO = 45
PRI_LOGPLEX = 172
PRI_ROUTER_LEGACY = 158
PRI_ROUTER_2 = 134
APP_LINE_BYTES_MAX = 10_000  # log-shuttle cuts longer lines, also inside of a character


class SimulatedLine(NamedTuple):
    """A frame, and what a service must make of it.

    `at_s` is when it is sent, in Unix seconds; its own timestamp may lie a little before that.
    `status` is that of a request (0: the router logged none), None for other lines; `code` is an H,
    R or L code.
    """

    at_s: float
    frame: bytes
    status: int | None = None
    code: str = ""


class Hop(NamedTuple):
    """What both routers log of a request before its outcome. `path` is percent-encoded."""

    method: str
    path: str
    host: str
    request_id: str
    fwd: str


class RouterError(NamedTuple):
    """How the router logs one of its codes.

    `head` stands before the method; `tail` holds {dyno}, {connect}, {service} (drawn from
    `service_ms`) and {page}, the size of the error page, which only Router 2.0 logs. `weight` says
    how often it occurs beside the others; `legacy` codes are not logged by Router 2.0.
    """

    code: str
    head: str
    tail: str
    status: int = 503
    service_ms: tuple[int, int] = (0, 0)
    weight: float = 1.0
    legacy: bool = False
    agent: bool = False


def _error(code: str, title: str, at: str = "error") -> str:
    return f'at={at} code={code} desc="{title}"'


_UNREACHED = "dyno= connect= service= status=503 bytes="
_ANSWERED = "dyno={dyno} connect={connect}ms service={service}ms status=503 bytes={page}"

ROUTER_ERRORS = (
    RouterError("H10", _error("H10", "App crashed"), _UNREACHED, weight=2),
    RouterError("H11", _error("H11", "Backlog too deep"), _UNREACHED),
    RouterError(
        "H12", _error("H12", "Request timeout"), _ANSWERED, service_ms=(30_000, 30_009), weight=14
    ),
    RouterError(
        "H13",
        _error("H13", "Connection closed without response"),
        _ANSWERED,
        service_ms=(40, 9_800),
        weight=6,
    ),
    RouterError("H14", _error("H14", "No web processes running"), _UNREACHED, weight=0.5),
    RouterError(
        "H15",
        _error("H15", "Idle connection"),
        "dyno={dyno} connect={connect}ms service={service}ms status=503 bytes=18",
        service_ms=(55_000, 56_000),
    ),
    RouterError(
        "H17", _error("H17", "Poorly formatted HTTP response"), _ANSWERED, service_ms=(1, 40)
    ),
    RouterError(
        "H18",
        "sock=backend " + _error("H18", "Server Request Interrupted"),
        _ANSWERED,
        service_ms=(1, 12_000),
        weight=6,
    ),
    RouterError(
        "H19",
        _error("H19", "Backend connection timeout"),
        "dyno={dyno} connect=5001ms service= status=503 bytes=",
        weight=2,
    ),
    RouterError("H20", _error("H20", "App boot timeout"), _UNREACHED),
    RouterError(
        "H21",
        _error("H21", "Backend connection refused"),
        "dyno={dyno} connect=1ms service= status=503 bytes=",
        weight=2,
    ),
    RouterError("H22", _error("H22", "Connection limit reached"), _UNREACHED),
    RouterError("H23", _error("H23", "Endpoint misconfigured"), _UNREACHED, legacy=True),
    RouterError(
        "H24",
        _error("H24", "Forced close"),
        "dyno={dyno} connect={connect}ms service={service}ms status= bytes=18",
        status=0,
        service_ms=(80_000, 81_000),
    ),
    RouterError(
        "H25",
        _error("H25", "HTTP restriction: invalid content length"),
        "dyno={dyno} connect=0 service=1 status=502 bytes=537",
        status=502,
    ),
    RouterError(
        "H26",
        _error("H26", "Request Error") + ' cause="unsupported expect header value"',
        "dyno= connect= service= status=417 bytes=",
        status=417,
        legacy=True,
    ),
    RouterError(
        "H27",
        "sock=client " + _error("H27", "Client Request Interrupted", "warning"),
        "dyno={dyno} connect={connect}ms service={service}ms status=499 bytes=0",
        status=499,
        service_ms=(0, 20_000),
        weight=10,
    ),
    RouterError(
        "H28",
        _error("H28", "Client Connection Idle", "warning"),
        "dyno={dyno} connect={connect}ms service={service}ms status=499 bytes=18",
        status=499,
        service_ms=(55_000, 56_000),
    ),
    RouterError(
        "H31",
        'error code=H31 desc="Misdirected Request"',  # Heroku's own example lacks "at="
        "dyno= connect= service= status=421 bytes=",
        status=421,
        agent=True,
    ),
    RouterError(
        "H80",
        _error("H80", "Maintenance mode", "info"),
        "dyno= connect= service= status=503 bytes={page}",
        weight=0.5,
    ),
    RouterError("H81", _error("H81", "Blank app", "info"), _UNREACHED, weight=0.5),
    RouterError("H82", _error("H82", "Free dyno quota exhausted", "info"), _UNREACHED, weight=0.5),
    RouterError("H99", _error("H99", "Platform error"), _UNREACHED, weight=0.5),
)
ERRORS_BY_CODE = {error.code: error for error in ROUTER_ERRORS}


@lru_cache(maxsize=64)
def _second(at_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))


def timestamp(at_s: float) -> str:
    """As Logplex writes it: microseconds without trailing zeros, in UTC."""
    second, microsecond = divmod(round(at_s * 1_000_000), 1_000_000)
    fraction = f".{microsecond:06}".rstrip("0") if microsecond else ""
    return f"{_second(second)}{fraction}+00:00"


def counted(message: bytes) -> bytes:
    """The message with its octet count: a frame."""
    return b"%d %s" % (len(message), message)


def frame(pri: int, at_s: float, app_name: str, procid: str, text: str | bytes) -> bytes:
    """One message as a frame; the newline of its text is inside of the count."""
    data = text.encode() if isinstance(text, str) else text
    head = f"<{pri}>1 {timestamp(at_s)} host {app_name} {procid} - "
    return counted(head.encode() + data + b"\n")


def app_frames(at_s: float, procid: str, text: str) -> list[bytes]:
    """A line that the app printed: one frame, or several when it is too long for one."""
    data = text.encode()
    return [
        frame(PRI_APP, at_s, "app", procid, data[start : start + APP_LINE_BYTES_MAX])
        for start in range(0, max(1, len(data)), APP_LINE_BYTES_MAX)
    ]


def lost_frame(now_s: float, lost: int, since_s: float) -> bytes:
    """Logplex's own L10, which alone among all frames lacks its newline. Always plural."""
    head = f"<{PRI_LOGPLEX}>1 {timestamp(now_s)} host heroku logplex - "
    text = (
        f"Error L10 (output buffer overflow): {lost} messages dropped since {timestamp(since_s)}."
    )
    return counted((head + text).encode())


def router_frame(
    at_s: float, hop: Hop, head: str, tail: str, *, legacy: bool, agent: bool
) -> bytes:
    """A router line. Router 2.0 decodes the path, so that it may hold quotes, spaces and other
    fields.
    """
    if legacy:
        path, fwd, protocol = hop.path, f'"{hop.fwd}"', "protocol=https"
    else:
        path, fwd = unquote(hop.path), hop.fwd if "," not in hop.fwd else f'"{hop.fwd}"'
        protocol = "protocol=http2.0 tls=true tls_version=tls1.3"
    text = (
        f'{head} method={hop.method} path="{path}" host={hop.host} request_id={hop.request_id}'
        f" fwd={fwd} {tail} {protocol}"
    )
    if agent:
        text += ' agent="curl/8.5.0 dyno=web.1 service=1ms status=200"'
    pri = PRI_ROUTER_LEGACY if legacy else PRI_ROUTER_2
    return frame(pri, at_s, "heroku", "router", text)
