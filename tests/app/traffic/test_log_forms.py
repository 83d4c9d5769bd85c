"""The form of a log is found, and its requests are read, however it was stored or exported."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from app.traffic.log_forms import LINE_BYTES_MAX
from app.traffic.log_input import CHUNK_BYTES, LogInput
from app.traffic.log_line import LogLine
from parsers import dispatch
from parsers.samples import Request
from tests.support.compression import COMPRESS
from tests.support.logtext import AT_S, framed, router_text

COUNT = 400  # more than a chunk
TIMES = [AT_S + number for number in range(COUNT)]
TEXTS = [router_text(at=at, dyno="web.1") for at in TIMES]
LOG = "".join(TEXTS)
PARTS = [text.rstrip("\n").split(" heroku[router]: ") for text in TEXTS]  # time and message
FRAMES = [f"<158>1 {time} host heroku router - {message}\n" for time, message in PARTS]


def each(line: str) -> bytes:
    """A log with a line for each request; {second} is its time to the second."""
    return "".join(
        line.format(time=time, second=time[:19], clock=time[11:19], message=message) + "\n"
        for time, message in PARTS
    ).encode()


def objects(form: str = "lines") -> bytes:
    """Better Stack's JSON of each request."""
    syslog = {"appname": "heroku", "procid": "router"}
    entries = [{"dt": time, "message": message, "syslog": syslog} for time, message in PARTS]
    if form == "lines":
        return "".join(f"{json.dumps(entry)}\n" for entry in entries).encode()
    if form == "document":
        return json.dumps({"events": entries}).encode()
    return json.dumps(entries, indent=2 if form == "pretty" else None).encode()


ARCHIVE = "7680\t{second}\t{second}Z\t505\tshop\t192.0.2.3\tLocal3\tInfo\theroku/router\t{message}"
NO_ZONE = " (its times have no zone: read as UTC)"
INPUTS: dict[str, tuple[bytes, str]] = {
    "text": (LOG.encode(), "heroku logs"),
    "crlf": (LOG.replace("\n", "\r\n").encode(), "heroku logs"),
    "cr": (LOG.replace("\n", "\r").encode(), "heroku logs"),
    "cr, utf-16": (LOG.replace("\n", "\r").encode("utf-16"), "heroku logs, UTF-16"),
    "cr, grep": (
        each("a.log:{time} heroku[router]: {message}").replace(b"\n", b"\r"),
        "heroku logs, with a prefix",
    ),
    "cr, archive": (each(ARCHIVE).replace(b"\n", b"\r"), "Papertrail archive"),
    "cr, drain bodies": (framed(*FRAMES).replace(b"\n", b"\r"), "drain bodies"),
    "cr, better stack": (objects().replace(b"\n", b"\r"), "Better Stack JSON"),
    "no newline at the end": (LOG.rstrip("\n").encode(), "heroku logs"),
    "utf-8 with a mark": (b"\xef\xbb\xbf" + LOG.encode(), "heroku logs"),
    "utf-8 with marks between": ((b"\xef\xbb\xbf".join(map(str.encode, TEXTS))), "heroku logs"),
    "powershell": (
        b"\xff\xfe" + LOG.replace("\n", "\r\n").encode("utf-16-le"),
        "heroku logs, UTF-16",
    ),
    "utf-16 big endian": (b"\xfe\xff" + LOG.encode("utf-16-be"), "heroku logs, UTF-16"),
    "utf-16 without a mark": (LOG.encode("utf-16-le"), "heroku logs, UTF-16"),
    "gzip of utf-16": (gzip.compress(LOG.encode("utf-16")), "heroku logs, UTF-16, gzip"),
    **{name: (COMPRESS[name](LOG.encode()), f"heroku logs, {name}") for name in COMPRESS},
    "colors": (
        each("\x1b[90m{time}\x1b[39m \x1b[36mheroku[router]:\x1b[0m {message}\x1b[K"),
        "heroku logs",
    ),
    "colors without escape": (each("[90m{time}[39m heroku[router]:[0m {message}"), "syslog lines"),
    "indentation": (each("    {time} heroku[router]: {message}"), "heroku logs"),
    "quotation": (each("> {time} heroku[router]: {message}"), "heroku logs"),
    "tabs": (each("\t{time} heroku[router]: {message}"), "heroku logs"),
    "grep": (
        each("log/shop.log:12:{time} heroku[router]: {message}"),
        "heroku logs, with a prefix",
    ),
    "grep in color": (
        each("\x1b[35m\x1b[Klog\x1b[m\x1b[K\x1b[36m:\x1b[m\x1b[K{time} heroku[router]: {message}"),
        "heroku logs, with a prefix",
    ),
    "ci": (
        each("2026-11-22T10:00:07.1234567Z {time} heroku[router]: {message}"),
        "heroku logs, with a prefix",
    ),
    "syslog": (each("Nov 22 {clock} d.8f6f heroku[router]: {message}"), f"syslog lines{NO_ZONE}"),
    "syslog with iso times": (each("{time} d.8f6f heroku[router]: {message}"), "syslog lines"),
    "drain bodies by lines": (
        each("<158>1 {time} host heroku router - {message}"),
        "syslog lines",
    ),
    "drain bodies": (framed(*FRAMES), "drain bodies"),
    "drain bodies after blanks": (b" \t\n  " + framed(*FRAMES), "drain bodies"),
    "drain bodies, indented": (
        b"\n    ".join(framed(frame) for frame in FRAMES),
        "drain bodies",
    ),
    "drain bodies, indented and edited": (
        b"\n    ".join(framed(frame).replace(b"18ms", b"018ms") for frame in FRAMES),
        "drain bodies",
    ),
    "drain bodies, edited, without the last newline": (
        b"".join(framed(frame).replace(b"18ms", b"018ms") for frame in FRAMES)[:-1],
        "drain bodies",
    ),
    "drain bodies with newlines": (b"\n\n" + framed(*FRAMES) + b"\n", "drain bodies"),
    "logentries": (
        each("22 Nov 2026 04:00:00.942309 <158>1 {time} heroku router - - {message}"),
        "syslog lines without a host name",
    ),
    "logentries with wrong counts": (
        each("477 <158>1 {time} heroku router - - {message}"),
        "syslog lines without a host name",
    ),
    "papertrail": (
        each("Nov 22 {clock} shop heroku/router: {message}"),
        f"Papertrail text{NO_ZONE}",
    ),
    "papertrail archive": (each(ARCHIVE), "Papertrail archive"),
    "papertrail archive, gzip": (gzip.compress(each(ARCHIVE)), "Papertrail archive, gzip"),
    "papertrail archive, zgrep": (each(f"2026-11-22.tsv.gz:{ARCHIVE}"), "Papertrail archive"),
    "better stack": (objects(), "Better Stack JSON"),
    "better stack, list": (objects("list"), "Better Stack JSON"),
    "better stack, pretty": (objects("pretty"), "Better Stack JSON"),
    "better stack, document": (objects("document"), "Better Stack JSON"),
}


def read(path: Path) -> tuple[list[LogLine], str]:
    with LogInput(str(path)) as log:
        return [line for group in log.groups() for line in group], log.form


@pytest.mark.parametrize("name", INPUTS)
def test_each_form_gives_every_request_with_its_time(tmp_path: Path, name: str) -> None:
    data, form = INPUTS[name]
    path = tmp_path / "input"
    path.write_bytes(data)

    lines, form_found = read(path)

    assert form_found == form
    messages = [line.message for line in lines if line.message]
    assert [int(at * 1000) for at in TIMES] == [message.at_ms for message in messages]
    samples = [dispatch.parse(message) for message in messages]
    assert {sample.service_ms for sample in samples if isinstance(sample, Request)} == {18}
    assert len(messages) == COUNT == sum(isinstance(sample, Request) for sample in samples)


@pytest.mark.parametrize("name", INPUTS)
def test_each_form_is_read_from_small_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / "input"
    path.write_bytes(INPUTS[name][0])
    whole = read(path)

    monkeypatch.setattr("app.traffic.log_input.CHUNK_BYTES", 997)

    assert CHUNK_BYTES > 997
    assert whole == read(path)


@pytest.mark.parametrize(
    "form",
    [
        "{time} heroku[router]: {message}",
        "  a.log:{time} heroku[router]: {message}",
        "\x1b[36m{time} heroku[router]:\x1b[0m {message}\r",
    ],
)
def test_a_line_is_known_again_whatever_is_around_it(tmp_path: Path, form: str) -> None:
    path = tmp_path / "input"
    path.write_bytes(each(form))

    assert [text.strip().encode() for text in TEXTS] == [line.raw for line in read(path)[0]]


def test_a_long_file_of_lines_that_end_in_cr_is_read(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(LOG.replace("\n", "\r").encode() * 30)
    assert path.stat().st_size > 2 * LINE_BYTES_MAX

    assert [line.message is None for line in read(path)[0]] == [False] * COUNT * 30


def test_a_progress_bar_is_one_line(tmp_path: Path) -> None:
    """A CR alone ends a line only where that makes more lines readable."""
    path = tmp_path / "input"
    path.write_text("2026-11-22T10:00:00.123456+00:00 app[web.1]: 10 %\r20 %\r30 %")

    [line] = read(path)[0]
    assert line.message
    assert line.message.text == b"10 %\r20 %\r30 %"


def test_a_file_of_text_is_not_read_in_other_forms_too(tmp_path: Path) -> None:
    path = tmp_path / "input"
    printed = "printed by the app: 2026-11-22T10:00:00Z heroku[router]: at=info status=200\n"
    path.write_text(LOG + printed)

    assert read(path)[0][-1].message is None


@pytest.mark.parametrize(
    "data",
    [
        b'192.0.2.1 - - [22/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 512\n',
        b"Nov 22 10:00:00 box sshd[12]: Accepted publickey for root\n",
        b"Nov 22 10:00:00 box app[2716]: started\n",
        b"2026-11-22T10:00:00+00:00 box kernel: oom\n",
        b'{"level":"info","ts":1795341600.25,"msg":"started"}\n',
        b"7680\t2026-11-22T10:00:00\t\t505\tbox\t192.0.2.3\tUser\tInfo\tsshd\tAccepted\n",
        b"<html><body>heroku[router]</body></html>\n",
        b"time,message\n2026-11-22,hello\n",
        b"PK\x03\x04 an archive",
    ],
)
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_logs_of_others_have_no_form(
    tmp_path: Path, data: bytes, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "input"
    path.write_bytes(compress(data * 10))

    with LogInput(str(path)) as log, pytest.raises(Exception, match="not a log of Heroku's"):
        list(log.groups())
