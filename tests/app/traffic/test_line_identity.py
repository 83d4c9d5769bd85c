"""A line has one identity in all forms, and different lines have different ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from app.traffic.line_identity import identity_of
from app.traffic.log_input import LogInput
from tests.support.logtext import framed

TIME = "2026-11-22T10:00:00.123456+00:00"
REQUEST = "at=info method=GET dyno=web.1 connect=1ms service=18ms status=200 bytes=512"
COLORED = "\x1b[31mna\u00efve\x1b[0m"


def bodies(time: str, source: str, text: str) -> bytes:
    return framed(f"<158>1 {time} host {source.replace('[', ' ').strip(']')} - {text}\n")


def exported(time: str | float, source: str, text: str, name: str = "dt") -> bytes:
    app_name, procid = source.strip("]").split("[")
    syslog = {"appname": app_name, "procid": procid}
    return json.dumps({"message": text, name: time, "syslog": syslog}).encode() + b"\n"


FORMS: dict[str, Callable[[str, str, str], bytes]] = {
    "heroku logs": lambda time, source, text: f"{time} {source}: {text}\n".encode(),
    "with CR": lambda time, source, text: f"{time} {source}: {text}\r\n".encode(),
    "grep": lambda time, source, text: f"a.log:3:{time} {source}: {text}\n".encode(),
    "frame": bodies,
    "frame of a syslog drain": lambda time, source, text: bodies(time, source, f"- {text}"),
    "frame without newline": lambda *line: framed(
        bodies(*line).partition(b" ")[2].decode().rstrip("\n")
    ),
    "frame with all digits": lambda time, source, text: bodies(
        time.replace("+00:00", "000Z"), source, text
    ),
    "syslog": lambda *line: bodies(*line).partition(b" ")[2],
    "json": exported,
    "json with a space": lambda time, source, text: exported(
        time.replace("T", " ").removesuffix("+00:00"), source, text
    ),
    "json in microseconds": lambda time, source, text: exported(
        1_795_341_600_123_456, source, text, "timestamp"
    ),
    "papertrail json": lambda time, source, text: json.dumps(
        {"generated_at": time, "program": source, "message": text}
    ).encode(),
}
LINES = {
    "request": (TIME, "heroku[router]", REQUEST),
    "output": (TIME, "app[web.1]", f"  {COLORED} - {TIME} "),
    "list": (TIME, "app[web.1]", "- item"),
    "no text": (TIME, "app[web.1]", ""),
}


def identity(path: Path, data: bytes) -> bytes:
    path.write_bytes(data)
    with LogInput(str(path)) as log:
        [line] = [line for group in log.groups() for line in group]
    assert line.message
    return identity_of(line)


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("form", FORMS)
def test_a_line_is_the_same_in_all_forms(tmp_path: Path, form: str, line: str) -> None:
    text = FORMS["heroku logs"](*LINES[line])

    assert identity(tmp_path / "a", FORMS[form](*LINES[line])) == identity(tmp_path / "b", text)


@pytest.mark.parametrize("form", FORMS.keys() - {"json in microseconds"})
@pytest.mark.parametrize(
    "other",
    [
        (TIME.replace("456", "457"), "heroku[router]", REQUEST),
        (TIME.replace("123456", "123"), "heroku[router]", REQUEST),
        (TIME, "app[router]", REQUEST),
        (TIME, "heroku[web.1]", REQUEST),
        (TIME, "heroku[router]", f"{REQUEST}0"),
    ],
)
def test_another_time_source_or_text_is_another_line(
    tmp_path: Path, form: str, other: tuple[str, str, str]
) -> None:
    line = FORMS["heroku logs"](*LINES["request"])

    assert identity(tmp_path / "a", FORMS[form](*other)) != identity(tmp_path / "b", line)


def test_lines_of_an_archive_in_whole_seconds_differ_by_their_ids(tmp_path: Path) -> None:
    archive = "{}\t2026-11-22T10:00:00\t\t505\tshop\t192.0.2.3\tL\tInfo\tapp/web.1\tping\n"

    one, two = (
        identity(tmp_path / name, archive.format(name).encode()) for name in ("7680", "7681")
    )

    assert one != two
