"""The spool: one directory, a file per worker, a bound for all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.ingest.spool import Spool, SpoolFull
from tests.support.service import NOW_S, Clock


def spool(directory: Path, *, bytes_max: int = 2**20) -> Spool:
    return Spool(directory, bytes_max=bytes_max, clock=Clock())


def contents(spool: Spool) -> list[bytes]:
    return sorted(record for file in spool.files() for record in file.read(99, 2**20).records)


def test_nothing_is_written_before_it_is_needed(tmp_path: Path) -> None:
    unused = spool(tmp_path / "spool")
    assert unused.status() == (0, 0)
    assert unused.files() == []
    unused.close()
    assert not (tmp_path / "spool").exists()


def test_what_waits_is_shown_with_its_size_and_since_when(tmp_path: Path) -> None:
    waiting = spool(tmp_path)
    waiting.add([b"x" * 500])
    assert waiting.status().since_s == NOW_S
    assert 500 < waiting.status().bytes < 600
    waiting.close()


def test_the_bound_holds_for_all_workers_together(tmp_path: Path) -> None:
    first, second = spool(tmp_path, bytes_max=1000), spool(tmp_path, bytes_max=1000)
    first.add([b"x" * 600])
    with pytest.raises(SpoolFull, match="DYNOMETER_SPOOL_MAX_BYTES"):
        second.add([b"y" * 600])
    second.add([b"y" * 100])
    assert contents(second) == [b"y" * 100]
    first.close()
    second.close()


def test_a_worker_that_is_killed_leaves_its_batches_to_another(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from app.ingest.spool import Spool\n"
        "Spool(Path(sys.argv[1]), bytes_max=10**6, clock=lambda: 1.0).add([b'left behind'])\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -9
    heir, other = spool(tmp_path), spool(tmp_path)
    assert contents(heir) == [b"left behind"]
    assert contents(other) == []
    [file] = heir.files()
    file.mark(file.read(9, 2**20).position)
    heir.emptied(file)
    assert os.listdir(tmp_path) == []
    heir.close()
    other.close()


def test_a_clean_end_leaves_no_empty_file_and_every_full_one(tmp_path: Path) -> None:
    emptied, full = spool(tmp_path), spool(tmp_path)
    for each in (emptied, full):
        each.add([b"1"])
    [file] = emptied.files()
    file.mark(file.read(9, 2**20).position)
    emptied.close()
    full.close()
    assert contents(spool(tmp_path)) == [b"1"]


def test_a_directory_that_cannot_be_used_is_said_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolFull, match="Not a directory"):
        spool(tmp_path / "file" / "spool").add([b"1"])
