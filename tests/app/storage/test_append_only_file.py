"""The files of the embedded store are repaired before a server reads them."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from app.storage import embedded
from app.storage.append_only_file import damaged_parts, repair, valid_length

TWO_PUSHES = "redis.call('RPUSH', 'ids', ARGV[1]) redis.call('RPUSH', 'batches', ARGV[1])"


def command(*arguments: bytes) -> bytes:
    """A command as servers write it."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        parts += [b"$%d\r\n" % len(argument), argument, b"\r\n"]
    return b"".join(parts)


def write_files(directory: Path, *files: bytes) -> list[Path]:
    """A data directory with these incremental files."""
    aof = directory / "appendonlydir"
    aof.mkdir()
    names = [f"appendonly.aof.{number}.incr.aof" for number in range(1, len(files) + 1)]
    lines = ["file appendonly.aof.1.base.rdb seq 1 type b"]
    lines += [f"file {name} seq {number} type i" for number, name in enumerate(names, 1)]
    (aof / "appendonly.aof.manifest").write_text("\n".join(lines) + "\n")
    for name, data in zip(names, files, strict=True):
        (aof / name).write_bytes(data)
    return [aof / name for name in names]


# --- which part is valid --------------------------------------------------------------------------

SET = command(b"SET", b"key", b"value\r\n*1\r\n")
TRANSACTION = command(b"MULTI") + SET + SET + command(b"EXEC")

pieces = st.sampled_from(
    [SET, TRANSACTION, b"#TS:1795341600\r\n", command(b"exec"), command(b"PEXPIREAT", b"", b"9")]
)


@given(st.lists(pieces, max_size=6), st.data())
def test_the_valid_part_ends_behind_the_last_whole_write(
    written: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(written)
    size = data.draw(st.integers(0, len(whole)))
    ends = [len(b"".join(written[:count])) for count in range(len(written) + 1)]
    tail = data.draw(st.sampled_from([b"", bytes(4096), b"\xff" * 9]))
    assert valid_part(whole[:size] + tail) == whole[: max(end for end in ends if end <= size)]


@given(st.binary(max_size=60))
def test_any_bytes_have_a_valid_part(data: bytes) -> None:
    assert data.startswith(valid_part(data))


def valid_part(data: bytes) -> bytes:
    return data[: valid_length(data)]


def test_whole_files_are_left_alone(tmp_path: Path) -> None:
    [path] = write_files(tmp_path, SET + TRANSACTION)
    assert repair(tmp_path) == []
    assert path.read_bytes() == SET + TRANSACTION
    assert damaged_parts(tmp_path) == []


def test_a_directory_without_files_needs_no_repair(tmp_path: Path) -> None:
    assert repair(tmp_path) == []


def test_the_damaged_end_is_kept_and_told(tmp_path: Path) -> None:
    [path] = write_files(tmp_path, SET + TRANSACTION[:-1] + bytes(100))
    [part] = repair(tmp_path)
    assert path.read_bytes() == SET
    assert part.path.read_bytes() == TRANSACTION[:-1] + bytes(100)
    assert part.path.stat().st_mode & 0o777 == 0o600
    assert f"The last {part.size:,} bytes" in str(part)
    assert str(part.path) in str(part)
    assert damaged_parts(tmp_path) == [part]
    part.path.unlink()
    assert damaged_parts(tmp_path) == []


def test_a_manifest_with_more_fields_is_read(tmp_path: Path) -> None:
    """As Redis 8 writes it."""
    [path] = write_files(tmp_path, SET + SET[:-3])
    manifest = path.parent / "appendonly.aof.manifest"
    manifest.write_text(manifest.read_text().replace("type i", "type i startoffset 0"))
    assert [part.size for part in repair(tmp_path)] == [len(SET) - 3]
    assert path.read_bytes() == SET


def test_files_behind_a_damaged_one_are_set_aside_too(tmp_path: Path) -> None:
    first, second, third = write_files(tmp_path, SET, SET[:5], SET)
    assert [part.size for part in repair(tmp_path)] == [5, len(SET)]
    assert [path.read_bytes() for path in (first, second, third)] == [SET, b"", b""]


# --- with real servers ----------------------------------------------------------------------------


@pytest.fixture(params=["redis-server", "valkey-server"])
def use_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of server that may be found."""
    if request.param == "valkey-server":
        monkeypatch.setenv("PATH", "/nonexistent")
    assert embedded.find_server().name == request.param
    return str(request.param)


def push(url: str, *values: str) -> None:
    with redis.Redis.from_url(url) as client:
        for value in values:
            client.eval(TWO_PUSHES, 0, value)


def lists(url: str) -> tuple[Any, Any]:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return client.lrange("ids", 0, -1), client.lrange("batches", 0, -1)


def write_and_kill(data_dir: Path) -> Path:
    """Write three transactions, kill the server, and return its file."""
    with embedded.start(data_dir, appendfsync="always") as store:
        push(store.url, "1", "2", "3")
        store._closing.set()
        os.kill(store.pid, signal.SIGKILL)
    [path] = (data_dir / "appendonlydir").glob("*.incr.aof")
    return path


def damages(data: bytes) -> dict[str, bytes]:
    """Cuts through the last transaction, and what a power loss leaves behind it."""
    begin = data.rindex(command(b"MULTI"))
    return {
        **{f"cut at {size - begin}": data[:size] for size in range(begin + 1, len(data), 9)},
        "zeros": data + bytes(4096),
        "zeros inside": data[: begin + 40] + bytes(4096),
    }


def test_nothing_is_counted_twice_or_lost_after_a_damaged_end(
    use_server: str, tmp_path: Path
) -> None:
    """The sender repeats what got no answer, the store goes on, and is restarted later."""
    path = write_and_kill(tmp_path / "data")
    for name, damaged_data in damages(path.read_bytes()).items():
        directory = tmp_path / name
        shutil.copytree(tmp_path / "data", directory)
        (directory / path.relative_to(tmp_path / "data")).write_bytes(damaged_data)
        with embedded.start(directory) as store:
            ids, batches = lists(store.url)
            assert ids == batches == (["1", "2", "3"] if name == "zeros" else ["1", "2"]), name
            push(store.url, *({"3"} - set(ids)), "4")
        with embedded.start(directory) as store:
            assert lists(store.url) == (["1", "2", "3", "4"], ["1", "2", "3", "4"]), name
        assert len(damaged_parts(directory)) == 1, name


def test_files_that_cannot_be_checked_are_a_clear_error(tmp_path: Path) -> None:
    [path] = write_files(tmp_path, SET)
    path.unlink()
    path.mkdir()
    with pytest.raises(embedded.EmbeddedError, match=r"Cannot check the files .* Is a directory"):
        embedded.start(tmp_path)
