"""Progress names bytes, share and the time left."""

from __future__ import annotations

import pytest

from app.cli.log_progress import format_share


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
