"""Output helpers: progress lines, tables and times."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli import output
from app.cli.main import main
from app.cli.output import ProgressLine, format_minute, format_share, print_table, wrap
from tests.support.logtext import router_text


def test_progress_in_a_file_is_a_line_per_interval(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ProgressLine().show("early")
    assert capsys.readouterr().err == ""

    monkeypatch.setattr(output, "PROGRESS_IN_FILE_S", 0.0)
    progress = ProgressLine()
    progress.show("one")
    progress.show("two")
    progress.clear()
    ProgressLine(terminal_only=True).show("none")
    assert capsys.readouterr().err == "one\ntwo\n"


def test_progress_on_a_terminal_is_rewritten_and_removed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "PROGRESS_ON_TERMINAL_S", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = ProgressLine(terminal_only=True)
    progress.show("one")
    progress.clear()
    assert capsys.readouterr().err == "\rone\x1b[K\r\x1b[K"


def test_a_long_report_shows_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "PROGRESS_IN_FILE_S", 0.0)
    path = tmp_path / "shop.log"
    path.write_text(router_text())
    assert main(["report", str(path)]) == 0
    assert "1 lines, " in capsys.readouterr().err


def test_a_table_is_aligned_and_times_are_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A", "B"), [("long cell", format_minute(0)), ("x", format_minute(1_795_341_600))])
    assert (
        capsys.readouterr().out == "A          B\nlong cell  never\nx          2026-11-22 10:00\n"
    )


@pytest.mark.parametrize("width", range(30, 80))
def test_a_line_never_ends_between_a_number_and_its_word(width: int) -> None:
    text = (
        "No first byte within 30 s. The dyno exited with status 137 after 2 times at 10:02 (3), "
        "200: 99   503: 1   none: 7, 12 header: 1,234 lines"
    )

    lines = wrap(text, width, "  H12  ")

    assert max(map(len, lines)) <= width
    assert lines[0].startswith("  H12  No")
    assert all(line.startswith(" " * 7) for line in lines[1:])
    together = "\n".join(line.strip() for line in lines)
    for pair in (
        "30 s.",
        "status 137",
        "2 times",
        "200: 99",
        "none: 7",
        "12 header",
        "1,234 lines",
    ):
        assert pair in together
    assert together.split() == ["H12", *text.split()]


@pytest.mark.parametrize(
    ("position", "size", "elapsed_s", "text"),
    [
        (1_250_000_000, 5_000_000_000, 60, "1.2 GB of 5.0 GB (25%), 3:00 left"),
        (65_536, 327_680, 1.0, "66 kB of 328 kB (20%), 0:04 left"),
        (5_000, 5_000, 1.0, "5.0 kB of 5.0 kB (100%), 0:00 left"),
        (999, None, 1.0, "999 bytes"),
        (12_345_678, None, 1.0, "12 MB"),
        (0, 5_000, 1.0, "0 bytes"),
    ],
)
def test_share_of_a_file_and_bytes_of_a_pipe(
    position: int, size: int | None, elapsed_s: float, text: str
) -> None:
    assert text == format_share(position, size, elapsed_s)
