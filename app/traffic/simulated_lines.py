"""Formats the lines of a Heroku app's log stream as Logplex writes them into a drain.

Pure: names, numbers and a time in, frames out. No code is shared with the parsers, so a simulation
checks them independently. The format, without structured data:

    COUNT SP <PRI>1 SP TIMESTAMP SP host SP APPNAME SP PROCID SP - SP MSG NEWLINE

Times have up to six fraction digits without trailing zeros, as Heroku's Go encoder writes them.
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
APP_LINE_BYTES_MAX = 10_000  # log-shuttle cuts longer lines, even inside a character


class SimulatedLine(NamedTuple):
    """A frame, and its expected effect on the metrics.

    `at_s` is the time of sending in Unix seconds; the frame's own timestamp may be slightly
    earlier. `status` is the status of a request (0 when the router logged none), None for other
    lines. `code` is an H, R or L code, "" for none. `lost` is the number of messages that an L12
    reports as lost.
    """

    at_s: float
    frame: bytes
    status: int | None = None
    code: str = ""
    lost: int = 0


class RequestFields(NamedTuple):
    """Fields that both routers log of a request. `path` is percent-encoded."""

    method: str
    path: str
    host: str
    request_id: str
    fwd: str


class RouterError(NamedTuple):
    """The form in which the router logs one of its codes.

    `head` comes before the method. `tail` has the placeholders of `format_tail`; {service} is drawn
    from the range `service_ms`. `weight` is the relative frequency of the code. Router 2.0 does not
    log `legacy` codes.
    """

    code: str
    head: str
    tail: str
    status: int = 503
    service_ms: tuple[int, int] = (0, 0)
    weight: float = 1.0
    legacy: bool = False
    agent: bool = False

    def format_tail(self, dyno: str, connect_ms: int, service_ms: int, *, legacy: bool) -> str:
        """The tail of a line. The routers differ in {page}, the size of the error page.

        Of a request that reached no dyno ({no_time}, {no_page}), the legacy router logs nothing,
        and Router 2.0 logs 0ms.
        """
        return self.tail.format(
            dyno=dyno,
            connect=connect_ms,
            service=service_ms,
            page=0 if legacy else 567,
            no_time="" if legacy else "0ms",
            no_page="" if legacy else 596,
        )


def _error(code: str, title: str, at: str = "error") -> str:
    return f'at={at} code={code} desc="{title}"'


_NO_DYNO_TAIL = "dyno= connect={no_time} service={no_time} status=503 bytes={no_page}"
_DYNO_TAIL = "dyno={dyno} connect={connect}ms service={service}ms status=503 bytes={page}"

ROUTER_ERRORS = (
    RouterError("H10", _error("H10", "App crashed"), _NO_DYNO_TAIL, weight=2),
    RouterError("H11", _error("H11", "Backlog too deep"), _NO_DYNO_TAIL),
    RouterError(
        "H12", _error("H12", "Request timeout"), _DYNO_TAIL, service_ms=(30_000, 30_009), weight=14
    ),
    RouterError(
        "H13",
        _error("H13", "Connection closed without response"),
        _DYNO_TAIL,
        service_ms=(40, 9_800),
        weight=6,
    ),
    RouterError("H14", _error("H14", "No web processes running"), _NO_DYNO_TAIL, weight=0.5),
    RouterError(
        "H15",
        _error("H15", "Idle connection"),
        "dyno={dyno} connect={connect}ms service={service}ms status=503 bytes=18",
        service_ms=(55_000, 56_000),
    ),
    RouterError(
        "H17", _error("H17", "Poorly formatted HTTP response"), _DYNO_TAIL, service_ms=(1, 40)
    ),
    RouterError(
        "H18",
        "sock=backend " + _error("H18", "Server Request Interrupted"),
        _DYNO_TAIL,
        service_ms=(1, 12_000),
        weight=6,
    ),
    RouterError(
        "H19",
        _error("H19", "Backend connection timeout"),
        "dyno={dyno} connect=5001ms service= status=503 bytes=",
        weight=2,
    ),
    RouterError("H20", _error("H20", "App boot timeout"), _NO_DYNO_TAIL),
    RouterError(
        "H21",
        _error("H21", "Backend connection refused"),
        "dyno={dyno} connect=1ms service= status=503 bytes=",
        weight=2,
    ),
    RouterError("H22", _error("H22", "Connection limit reached"), _NO_DYNO_TAIL),
    RouterError("H23", _error("H23", "Endpoint misconfigured"), _NO_DYNO_TAIL, legacy=True),
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
    RouterError("H34", _error("H34", "All up dynos are quarantined"), _NO_DYNO_TAIL, weight=0.5),
    RouterError("H80", _error("H80", "Maintenance mode", "info"), _NO_DYNO_TAIL, weight=0.5),
    RouterError("H81", _error("H81", "Blank app", "info"), _NO_DYNO_TAIL, weight=0.5),
    RouterError(
        "H82", _error("H82", "Free dyno quota exhausted", "info"), _NO_DYNO_TAIL, weight=0.5
    ),
    RouterError("H99", _error("H99", "Platform error"), _NO_DYNO_TAIL, weight=0.5),
)
ERRORS_BY_CODE = {error.code: error for error in ROUTER_ERRORS}


@lru_cache(maxsize=64)
def _second(at_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))


def timestamp(at_s: float) -> str:
    """A timestamp as Logplex writes it: UTC, microseconds without trailing zeros."""
    second, microsecond = divmod(round(at_s * 1_000_000), 1_000_000)
    fraction = f".{microsecond:06}".rstrip("0") if microsecond else ""
    return f"{_second(second)}{fraction}+00:00"


def add_octet_count(message: bytes) -> bytes:
    """A frame: the message with its octet count before it."""
    return b"%d %s" % (len(message), message)


def frame(pri: int, at_s: float, app_name: str, procid: str, text: str | bytes) -> bytes:
    """A frame of one message. The count includes the newline at its end."""
    data = text.encode() if isinstance(text, str) else text
    head = f"<{pri}>1 {timestamp(at_s)} host {app_name} {procid} - "
    return add_octet_count(head.encode() + data + b"\n")


def app_frames(at_s: float, procid: str, text: str) -> list[bytes]:
    """The frames of a line that the app printed: several if it is too long for one."""
    data = text.encode()
    return [
        frame(PRI_APP, at_s, "app", procid, data[start : start + APP_LINE_BYTES_MAX])
        for start in range(0, max(1, len(data)), APP_LINE_BYTES_MAX)
    ]


def l10_frame(now_s: float, losses: int, since_s: float) -> bytes:
    """Logplex's own L10, the only frame without a newline. Its text is always plural."""
    head = f"<{PRI_LOGPLEX}>1 {timestamp(now_s)} host heroku logplex - "
    text = (
        f"Error L10 (output buffer overflow): {losses} messages dropped since {timestamp(since_s)}."
    )
    return add_octet_count((head + text).encode())


def router_frame(
    at_s: float, fields: RequestFields, head: str, tail: str, *, legacy: bool, agent: bool
) -> bytes:
    """The frame of a router line.

    Router 2.0 decodes the path, which may then contain quotes, spaces and other fields.
    """
    if legacy:
        path, fwd, protocol = fields.path, f'"{fields.fwd}"', "protocol=https"
    else:
        path, fwd = unquote(fields.path), fields.fwd if "," not in fields.fwd else f'"{fields.fwd}"'
        protocol = "protocol=http2.0 tls=true tls_version=tls1.3"
    text = (
        f'{head} method={fields.method} path="{path}" host={fields.host}'
        f" request_id={fields.request_id} fwd={fwd} {tail} {protocol}"
    )
    if agent:
        text += ' agent="curl/8.5.0 dyno=web.1 service=1ms status=200"'
    pri = PRI_ROUTER_LEGACY if legacy else PRI_ROUTER_2
    return frame(pri, at_s, "heroku", "router", text)
