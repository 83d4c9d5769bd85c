"""Lines of `heroku logs`, also those that are broken in two."""

from __future__ import annotations

import pytest

from app.traffic.log_text import read_text_lines
from tests.support.logtext import router_text, text_line

LINE = router_text().rstrip("\n").encode()
OUTPUT = text_line("app[web.1]", "hello").rstrip("\n").encode()


@pytest.mark.parametrize("end", [b"", b"\r"])
@pytest.mark.parametrize("place", range(3, len(LINE) - 45, 3))  # in what comes before the status
def test_a_broken_line_is_joined(place: int, end: bytes) -> None:
    lines = read_text_lines([OUTPUT, LINE[:place] + end, LINE[place:] + end, OUTPUT])

    assert [line.raw for line in lines] == [OUTPUT, LINE, OUTPUT]


def test_other_lines_that_cannot_be_read_stay_on_their_own() -> None:
    others = [b"$ heroku logs", OUTPUT, b"    at app.js:12", LINE, b"status=503", b"bytes=1"]

    assert [line.strip() for line in others] == [line.raw for line in read_text_lines(others)]
