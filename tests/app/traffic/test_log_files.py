"""Several files are read as one input."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from app.traffic.log_files import LogFiles
from app.traffic.log_input import LogInputError, UnknownLogForm
from tests.support.logtext import AT_S, framed, router_text

FRAME = "<158>1 2026-11-22T10:00:00+00:00 host heroku router - at=info status=200\n"


def write(directory: Path, name: str, data: bytes) -> str:
    (directory / name).write_bytes(data)
    return str(directory / name)


def test_each_file_has_its_own_form(tmp_path: Path) -> None:
    text = router_text().encode()
    log = LogFiles(
        [
            write(tmp_path, "a.log", text * 2),
            write(tmp_path, "b.log", framed(FRAME, FRAME, FRAME)),
            write(tmp_path, "c.log", gzip.compress(text)),
            write(tmp_path, "d.log", b""),
            write(tmp_path, "e.log", text),
        ]
    )

    lines = [line for group in log.groups() for line in group]

    assert [line.is_frame for line in lines] == [False] * 2 + [True] * 3 + [False] * 2
    assert log.form_lines() == [
        "heroku logs (2 files)",
        "drain bodies (1 file)",
        "heroku logs, gzip (1 file)",
    ]


def test_position_and_size_are_those_of_all_files(tmp_path: Path) -> None:
    paths = [write(tmp_path, name, router_text(at=AT_S).encode()) for name in ("a.log", "b.log")]
    log = LogFiles(paths)

    positions = [(log.files_read, log.position) for group in log.groups() if group]

    size = os.path.getsize(paths[0])
    assert log.size == 2 * size
    assert positions == [(1, size), (2, 2 * size)]


def test_a_pipe_has_no_size_and_is_read_once() -> None:
    reading, writing = os.pipe()
    os.write(writing, router_text().encode())
    os.close(writing)

    log = LogFiles([f"/dev/fd/{reading}"])

    assert log.size is None
    assert len([line for group in log.groups() for line in group]) == 1
    assert log.form_lines() == ["heroku logs"]
    os.close(reading)


def test_a_file_that_is_no_log_is_refused_before_the_first_line(tmp_path: Path) -> None:
    paths = [write(tmp_path, "a.log", router_text().encode()), write(tmp_path, "b.log", b"diary\n")]

    with pytest.raises(UnknownLogForm, match=r"b\.log is not a log of Heroku's"):
        next(LogFiles(paths).groups())


def test_a_file_that_cannot_be_read_is_named_at_once(tmp_path: Path) -> None:
    log = write(tmp_path, "a.log", router_text().encode())

    with pytest.raises(LogInputError, match=r"absent\.log: No such file"):
        LogFiles([log, str(tmp_path / "absent.log")])
    with pytest.raises(LogInputError, match="it is a directory"):
        LogFiles([log, str(tmp_path)])
