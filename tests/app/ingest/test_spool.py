"""The spool: one directory, a file per worker, one limit for all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.ingest.spool import Spool, SpoolRejected
from tests.support.service import NOW_S, Clock


def spool(directory: Path, *, bytes_max: int = 2**20) -> Spool:
    return Spool(directory, bytes_max=bytes_max, clock=Clock())


def contents(spool: Spool) -> list[bytes]:
    return sorted(record for file in spool.files() for record in file.read(99, 2**20).records)


def test_no_file_is_created_before_it_is_needed(tmp_path: Path) -> None:
    empty = spool(tmp_path / "spool")
    assert empty.status() == (0, 0)
    assert empty.files() == []
    empty.close()
    assert not (tmp_path / "spool").exists()


def test_the_status_has_size_and_start_of_the_waiting_records(tmp_path: Path) -> None:
    worker = spool(tmp_path)
    worker.add([b"x" * 500])
    assert worker.status().since_s == NOW_S
    assert 500 < worker.status().bytes < 600
    worker.close()


def test_the_limit_applies_to_all_workers_together(tmp_path: Path) -> None:
    first, second = spool(tmp_path, bytes_max=1000), spool(tmp_path, bytes_max=1000)
    first.add([b"x" * 600])
    with pytest.raises(SpoolRejected, match="DYNOMETER_SPOOL_MAX_BYTES"):
        second.add([b"y" * 600])
    second.add([b"y" * 100])
    assert contents(second) == [b"y" * 100]
    first.close()
    second.close()


def test_another_worker_takes_over_the_batches_of_a_killed_one(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from app.ingest.spool import Spool\n"
        "Spool(Path(sys.argv[1]), bytes_max=10**6, clock=lambda: 1.0).add([b'left behind'])\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    process = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert process.returncode == -9
    heir, late = spool(tmp_path), spool(tmp_path)
    assert contents(heir) == [b"left behind"]
    assert contents(late) == []
    [file] = heir.files()
    file.advance(file.read(9, 2**20).position)
    heir.retire(file)
    assert os.listdir(tmp_path) == []
    heir.close()
    late.close()


def test_a_clean_end_removes_empty_files_and_keeps_full_ones(tmp_path: Path) -> None:
    empty_spool, full_spool = spool(tmp_path), spool(tmp_path)
    for worker in (empty_spool, full_spool):
        worker.add([b"1"])
    [file] = empty_spool.files()
    file.advance(file.read(9, 2**20).position)
    empty_spool.close()
    full_spool.close()
    assert contents(spool(tmp_path)) == [b"1"]


def test_an_unusable_directory_is_reported_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolRejected, match="Not a directory"):
        spool(tmp_path / "file" / "spool").add([b"1"])


def test_a_directory_that_is_deleted_in_use_is_written_again(tmp_path: Path) -> None:
    worker = spool(tmp_path / "spool")
    worker.add([b"before"])
    shutil.rmtree(tmp_path / "spool")
    worker.add([b"after"])
    assert contents(worker) == [b"after", b"before"]
    worker.close()
    heir = spool(tmp_path / "spool")
    assert contents(heir) == [b"after", b"before"]
    heir.close()


def test_a_file_that_is_deleted_while_a_batch_is_written_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = spool(tmp_path)
    worker.add([b"before"])
    [path] = tmp_path.iterdir()
    sync = os.fsync

    def delete_and_sync(descriptor: int) -> None:
        path.unlink(missing_ok=True)
        monkeypatch.setattr("os.fsync", sync)
        sync(descriptor)

    monkeypatch.setattr("os.fsync", delete_and_sync)
    worker.add([b"after"])
    assert path.exists()
    worker.close()
    heir = spool(tmp_path)
    assert contents(heir) == [b"after", b"before"]
    heir.close()


def test_deleted_files_are_written_again_without_further_batches(tmp_path: Path) -> None:
    first, heir = spool(tmp_path), spool(tmp_path)
    first.add([b"of a worker that has ended"])
    first.close()
    heir.files()
    heir.add([b"own"])
    for path in tmp_path.iterdir():
        path.rename(tmp_path / f"{path.name}.moved")
    heir.restore()
    assert len(list(tmp_path.glob("*.spool"))) == 2
    assert contents(heir) == [b"of a worker that has ended", b"own"]
    heir.close()


def test_a_batch_is_rejected_if_its_deleted_directory_cannot_be_written_again(
    tmp_path: Path,
) -> None:
    worker = spool(tmp_path / "spool")
    worker.add([b"before"])
    shutil.rmtree(tmp_path / "spool")
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(SpoolRejected, match="Cannot write to the spool"):
        worker.add([b"after"])
