"""Messages and frames as Logplex sends them, with computed octet counts."""

from __future__ import annotations

from datetime import UTC, datetime

AT_S = 1_795_341_600.0  # 2026-11-22T10:00:00Z


def timestamp(at_s: float) -> str:
    """A timestamp as Logplex writes it: no trailing zeros in the fraction, +00:00 as the zone."""
    moment = datetime.fromtimestamp(at_s, UTC)
    fraction = f"{moment.microsecond:06d}".rstrip("0")
    return f"{moment:%Y-%m-%dT%H:%M:%S}{'.' if fraction else ''}{fraction}+00:00"


def counted(message: bytes) -> bytes:
    """The frame of a message."""
    return b"%d %b" % (len(message), message)


def message(
    text: str | bytes,
    *,
    app_name: str = "heroku",
    procid: str = "web.1",
    at_s: float = AT_S,
    pri: int = 45,
    newline: bool = True,
) -> bytes:
    """A message in Logplex's dialect: no structured data."""
    head = f"<{pri}>1 {timestamp(at_s)} host {app_name} {procid} - ".encode()
    raw = text if isinstance(text, bytes) else text.encode()
    return head + raw + (b"\n" if newline else b"")


def frame(
    text: str | bytes,
    *,
    app_name: str = "heroku",
    procid: str = "web.1",
    at_s: float = AT_S,
    pri: int = 45,
    newline: bool = True,
) -> bytes:
    """A frame in Logplex's dialect."""
    return counted(
        message(text, app_name=app_name, procid=procid, at_s=at_s, pri=pri, newline=newline)
    )


def router_text(
    *,
    head: str = "at=info",
    path: str = "/",
    fwd: str = '"192.0.2.1"',
    dyno: str = "web.1",
    connect: str = "1ms",
    service: str = "18ms",
    status: str = "200",
    size: str = "512",
    more: str = " protocol=https",
) -> str:
    """The text of a router line."""
    return (
        f'{head} method=GET path="{path}" host=shop.example.com request_id=0f0f fwd={fwd} '
        f"dyno={dyno} connect={connect} service={service} status={status} bytes={size}{more}"
    )


def router(at_s: float = AT_S, **fields: str) -> bytes:
    """A frame of the router. `fields` are the arguments of router_text."""
    return frame(router_text(**fields), procid="router", at_s=at_s, pri=158)


def memory(
    at_s: float = AT_S, *, dyno: str = "web.1", total: str = "256.00", quota: str = "512.00"
) -> bytes:
    """A frame with the memory of a dyno."""
    text = (
        f"source={dyno} dyno=heroku.1.0f0f sample#memory_total={total}MB "
        "sample#memory_rss=200.50MB sample#memory_cache=10.25MB sample#memory_swap=0.00MB "
        "sample#memory_pgpgin=348836pages sample#memory_pgpgout=343403pages "
        f"sample#memory_quota={quota}MB"
    )
    return frame(text, procid=dyno, at_s=at_s)


def load(at_s: float = AT_S, *, dyno: str = "web.1", load_1m: str = "0.50") -> bytes:
    """A frame with the load of a dyno."""
    text = (
        f"source={dyno} dyno=heroku.1.0f0f sample#load_avg_1m={load_1m} "
        "sample#load_avg_5m=0.40 sample#load_avg_15m=0.30"
    )
    return frame(text, procid=dyno, at_s=at_s)


def app_line(text: str | bytes = "Completed 200 OK", at_s: float = AT_S) -> bytes:
    """A frame of application output."""
    return frame(text, app_name="app", at_s=at_s, pri=190)


def lost(messages: int, at_s: float = AT_S) -> bytes:
    """Logplex's own L10, the only frame without a newline."""
    return frame(
        f"Error L10 (output buffer overflow): {messages} messages dropped since "
        f"{timestamp(at_s - 60)}.",
        procid="logplex",
        at_s=at_s,
        pri=172,
        newline=False,
    )
