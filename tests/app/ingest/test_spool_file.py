"""A spool file: acknowledged records are read back, whatever happens to the file."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ingest.spool_file import HEADER_BYTES, SpoolFile, read_status

ALL = 1_000


def records_of(path: Path) -> tuple[list[bytes], int]:
    """(records, damage count) as read by the next process."""
    file = SpoolFile.adopt(path)
    assert file is not None
    chunk = file.read(ALL, 2**30)
    file.close()
    return chunk.records, chunk.damage_count


def write_file(path: Path, *records: bytes) -> Path:
    """A file as a killed process leaves it."""
    file = SpoolFile.create(path)
    for record in records:
        file.append([record], 1_000)
    file.close()
    return path


def test_records_come_back_in_order(tmp_path: Path) -> None:
    records = [b"", b"a", b"b" * 100_000, os.urandom(1000)]
    assert records_of(write_file(tmp_path / "a.spool", *records)) == (records, 0)


def test_processed_records_are_not_read_again_even_by_the_next_process(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.spool", b"1", b"2", b"3")
    file = SpoolFile.adopt(path)
    assert file is not None
    chunk = file.read(2, 2**20)
    assert chunk.records == [b"1", b"2"]
    file.advance(chunk.position)
    file.close()
    assert records_of(path) == ([b"3"], 0)


def test_a_file_that_was_read_to_its_end_frees_its_space(tmp_path: Path) -> None:
    path = tmp_path / "a.spool"
    file = SpoolFile.create(path)
    file.append([b"x" * 1000], 5_000)
    assert read_status(path)[1] == 5_000
    file.advance(file.read(ALL, 2**20).position)
    assert path.stat().st_size == HEADER_BYTES
    assert read_status(path) == (0, 0)
    file.append([b"again"], 6_000)
    file.close()
    assert records_of(path) == ([b"again"], 0)
    assert read_status(path)[1] == 6_000


def test_a_record_appended_while_others_are_read_is_not_lost(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path / "a.spool")
    file.append([b"1"], 1)
    position = file.read(ALL, 2**20).position
    file.append([b"2"], 1)
    file.advance(position)
    assert file.read(ALL, 2**20).records == [b"2"]
    file.close()


@pytest.mark.parametrize("cut", range(1, 30))
def test_an_incomplete_record_is_cut_off(tmp_path: Path, cut: int) -> None:
    path = write_file(tmp_path / "a.spool", b"whole", b"x" * 20)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - cut)
    assert records_of(path) == ([b"whole"], 0)


def test_zeros_at_the_end_as_after_a_power_failure_are_cut_off(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.spool", b"whole")
    with path.open("ab") as file:
        file.write(bytes(500))
    assert records_of(path) == ([b"whole"], 0)


@given(st.integers(HEADER_BYTES, HEADER_BYTES + 150), st.integers(1, 255))
def test_a_damaged_byte_costs_at_most_its_own_record_and_is_counted(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int
) -> None:
    records = [bytes([65 + n]) * 30 for n in range(5)]
    path = write_file(tmp_path_factory.mktemp("spool") / "a.spool", *records)
    data = bytearray(path.read_bytes())
    data[at] ^= flip
    path.write_bytes(data)
    records_read, damage_count = records_of(path)
    missing_records = [record for record in records if record not in records_read]
    assert len(missing_records) == 1
    assert records_read == [record for record in records if record not in missing_records]
    assert damage_count == 1


def test_a_damaged_header_costs_no_record(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.spool", b"1", b"2")
    data = bytearray(path.read_bytes())
    data[:HEADER_BYTES] = os.urandom(HEADER_BYTES)
    path.write_bytes(data)
    assert records_of(path) == ([b"1", b"2"], 0)


def test_a_record_that_contains_a_record_is_one_record(tmp_path: Path) -> None:
    inner = write_file(tmp_path / "inner.spool", b"inner").read_bytes()[HEADER_BYTES:]
    path = write_file(tmp_path / "a.spool", b"before" + inner + b"after", b"next")
    assert records_of(path) == ([b"before" + inner + b"after", b"next"], 0)


def test_a_file_in_use_cannot_be_adopted(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path / "a.spool")
    assert SpoolFile.adopt(file.path) is None
    file.close()
    assert SpoolFile.adopt(tmp_path / "missing.spool") is None


def test_a_partial_write_leaves_no_record(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path / "a.spool")
    file.append([b"kept"], 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.path.stat().st_size + 100, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            file.append([b"x" * 50, b"y" * 1000], 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    file.append([b"later"], 1)
    assert file.read(ALL, 2**20).records == [b"kept", b"later"]
    file.close()
