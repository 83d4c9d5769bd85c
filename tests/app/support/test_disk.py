"""Recognizing directories that lose their data at a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.support.disk import why_ephemeral

MOUNTS = """\
20 1 0:20 / / rw,relatime - overlay overlay rw
21 20 8:1 / /data rw - ext4 /dev/sda1 rw
22 20 0:22 / /run rw - tmpfs tmpfs rw
23 20 8:2 / /my\\040disk rw - ext4 /dev/sdb1 rw
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("directory", "word"),
    [("/app/.dynometer", "container"), ("/run/x", "memory"), ("/data/x", ""), ("/my disk/x", "")],
)
def test_the_type_of_the_file_system_decides(mounts: Path, directory: str, word: str) -> None:
    reason = why_ephemeral(Path(directory), {}, mounts)
    assert bool(reason) == bool(word)
    assert word in reason


def test_a_dyno_keeps_nothing_whatever_its_file_system_is(mounts: Path) -> None:
    assert "restart" in why_ephemeral(Path("/data"), {"DYNO": "web.1"}, mounts)


def test_without_mount_information_no_reason_is_given(tmp_path: Path) -> None:
    assert why_ephemeral(tmp_path, {}, tmp_path / "missing") == ""
