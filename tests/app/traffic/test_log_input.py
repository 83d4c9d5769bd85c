"""Log lines are read from files and pipes."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from app.traffic.log_forms import LINE_BYTES_MAX
from app.traffic.log_input import LogInput, LogInputError, UnknownLogForm
from app.traffic.log_line import LogLine
from tests.support.logtext import AT_S, framed, router_text

ROUTER = router_text().encode()
FRAME = "<158>1 2026-11-22T10:00:00+00:00 host heroku router - at=info status=200\n"
LOST = (
    "<172>1 2026-11-22T10:00:00+00:00 host heroku logplex - Error L10 (output buffer overflow): "
    "2 messages dropped since 2026-11-22T09:59:00+00:00."
)


def lines_of(path: Path | str) -> list[LogLine]:
    with LogInput(str(path)) as log:
        return [line for group in log.groups() for line in group]


def write_log(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "app.log"
    path.write_bytes(data)
    return path


def test_text_of_heroku_logs_is_read_line_by_line(tmp_path: Path) -> None:
    lines = lines_of(write_log(tmp_path, ROUTER + b"\r\n\n" + ROUTER.rstrip()))

    assert [ROUTER.rstrip()] * 2 == [line.raw for line in lines]
    assert [line.is_frame for line in lines] == [False, False]
    messages = [line.message for line in lines if line.message]
    assert [int(AT_S * 1000)] * 2 == [message.at_ms for message in messages]
    assert [(message.app_name, message.procid) for message in messages] == [
        (b"heroku", b"router")
    ] * 2


def test_a_line_that_is_not_a_log_line_has_a_reason(tmp_path: Path) -> None:
    lines = lines_of(write_log(tmp_path, b"hello there, this is prose\n" + ROUTER))

    assert [line.reason for line in lines] == ["header", ""]
    assert lines[0].message is None
    assert lines[0].raw == b"hello there, this is prose"


def test_a_byte_order_mark_is_not_part_of_the_first_line(tmp_path: Path) -> None:
    [line] = lines_of(write_log(tmp_path, b"\xef\xbb\xbf" + ROUTER))

    assert line.message is not None


def test_a_drain_body_is_read_frame_by_frame(tmp_path: Path) -> None:
    lines = lines_of(write_log(tmp_path, framed(LOST, FRAME, FRAME)))

    assert [LOST.encode(), FRAME.encode(), FRAME.encode()] == [line.raw for line in lines]
    assert all(line.is_frame and line.message for line in lines)


@pytest.mark.parametrize("between", [b"", b"\n", b"\r\n", b"\n\n"])
def test_newlines_between_bodies_do_no_harm(tmp_path: Path, between: bytes) -> None:
    bodies = [framed(LOST, FRAME), framed(FRAME, FRAME.rstrip()), framed(LOST), framed(FRAME)]

    lines = lines_of(write_log(tmp_path, between.join(bodies) + between))

    expected = [LOST, FRAME, FRAME, FRAME, LOST, FRAME]
    assert [text.rstrip().encode() for text in expected] == [line.raw.rstrip() for line in lines]
    assert all(line.is_frame and line.message for line in lines)


def test_a_damaged_stretch_is_one_line_and_keeps_its_bytes(tmp_path: Path) -> None:
    damage = b"999999 <158>1 cut short "

    lines = lines_of(write_log(tmp_path, framed(FRAME) + damage + framed(FRAME)))

    assert [FRAME.encode(), damage, FRAME.encode()] == [line.raw for line in lines]
    assert [line.reason for line in lines] == ["", "frame", ""]
    assert not lines[1].is_frame


@pytest.mark.parametrize("blanks", [b" ", b"\n\n", b"\r\n\t "])
def test_blanks_before_frames_and_damage_belong_to_neither(tmp_path: Path, blanks: bytes) -> None:
    damage = b"junk\n"

    lines = lines_of(write_log(tmp_path, blanks + framed(LOST, FRAME) + blanks + damage))

    assert [LOST.encode(), FRAME.encode(), damage] == [line.raw for line in lines]
    assert [line.is_frame for line in lines] == [True, True, False]


def test_a_frame_without_a_header_has_a_reason(tmp_path: Path) -> None:
    lines = lines_of(write_log(tmp_path, framed(FRAME, "<158>1 nothing more\n", FRAME)))

    assert [line.reason for line in lines] == ["", "header", ""]


@pytest.mark.parametrize("data", [ROUTER * 2000, framed(*[FRAME] * 2000)], ids=["text", "body"])
def test_gzip_is_inflated_even_with_several_members(tmp_path: Path, data: bytes) -> None:
    half = len(data) // 2
    gzip_data = gzip.compress(data[:half]) + gzip.compress(data[half:])

    lines = lines_of(write_log(tmp_path, gzip_data))

    assert len(lines) == 2000
    assert all(line.message for line in lines)


@pytest.mark.parametrize("size", [5, 200])
def test_gzip_that_ends_early_is_an_error(tmp_path: Path, size: int) -> None:
    path = write_log(tmp_path, gzip.compress(os.urandom(1000))[:size])

    with pytest.raises(LogInputError, match="ends early"):
        lines_of(path)


def test_damaged_gzip_is_an_error(tmp_path: Path) -> None:
    path = write_log(tmp_path, b"\x1f\x8b\xff\xff damaged")

    with pytest.raises(LogInputError, match="damaged gzip"):
        lines_of(path)


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(LogInputError, match=r"absent\.log: No such file"):
        LogInput(str(tmp_path / "absent.log"))


def test_a_directory_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(LogInputError, match="it is a directory"):
        LogInput(str(tmp_path))


@pytest.mark.parametrize("data", [b"", b"\n\n", b" \r\n", b"\xef\xbb\xbf", b"\xff\xfe"])
def test_nothing_is_read_without_an_error(tmp_path: Path, data: bytes) -> None:
    assert lines_of(write_log(tmp_path, data)) == []


@pytest.mark.parametrize("data", [b"x", b"\x1f", b"{", b"[]", b"1 <1>1 ", b"\x00\x01", b"\xff"])
def test_what_is_no_log_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UnknownLogForm, match=r"app\.log is not a log of Heroku's"):
        lines_of(write_log(tmp_path, data))


def test_the_first_lines_of_what_is_no_log_are_shown_printable(tmp_path: Path) -> None:
    data = b"\n".join([b"<html>", b"", b"  \x1b[1mbold", b"z" * 200, b"fourth"])

    with pytest.raises(UnknownLogForm) as error:
        lines_of(write_log(tmp_path, data))

    message = str(error.value).splitlines()
    assert "none of its 4 lines could be read" in message[0]
    assert message[1:4] == ["  <html>", "  ·[1mbold", f"  {'z' * 99}…"]
    assert error.value.exit_code == 1


def test_other_output_before_the_log_is_read_over(tmp_path: Path) -> None:
    banner = b"Building on the Heroku-24 stack\n" * 10_000

    lines = lines_of(write_log(tmp_path, banner + ROUTER * 3))

    assert len(lines) == 10_003
    assert [line.message is None for line in lines[-4:]] == [True, False, False, False]


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    lines = lines_of(write_log(tmp_path, ROUTER + b"z" * (3 * LINE_BYTES_MAX)))

    assert len(lines) > 2
    assert sum(len(line.raw) for line in lines[1:]) == 3 * LINE_BYTES_MAX


@pytest.mark.parametrize(
    ("data", "count"), [(ROUTER * 3, 3), (framed(LOST, FRAME), 2)], ids=["text", "body"]
)
def test_a_pipe_written_byte_by_byte_gives_the_same_lines(data: bytes, count: int) -> None:
    reading, writing = os.pipe()
    with LogInput(f"/dev/fd/{reading}") as log:
        os.close(reading)
        lines: list[LogLine] = []
        groups = log.groups(idle_s=0)
        for offset in range(len(data)):
            os.write(writing, data[offset : offset + 1])
            if offset > 20:  # the form is not known before, so there are no groups yet
                lines += next(groups)
        os.close(writing)
        lines += [line for group in groups for line in group]

    assert count == len(lines)
    assert all(line.message for line in lines)


def test_lines_of_a_live_pipe_come_before_it_ends() -> None:
    reading, writing = os.pipe()
    with LogInput(f"/dev/fd/{reading}") as log:
        os.close(reading)
        os.write(writing, ROUTER)
        groups = log.groups(idle_s=0)

        assert [ROUTER.rstrip()] == [line.raw for line in next(groups)]
        assert next(groups) == [], "an idle pipe gives an empty group"
        assert log.size is None
        os.close(writing)
        assert list(groups) == []


def test_position_and_size_show_how_much_of_a_file_is_read(tmp_path: Path) -> None:
    data = ROUTER * 5_000
    with LogInput(str(write_log(tmp_path, data))) as log:
        groups = log.groups()
        next(groups)

        assert len(data) == log.size
        assert 0 < log.position < len(data)
        for _ in groups:
            pass
        assert len(data) == log.position
