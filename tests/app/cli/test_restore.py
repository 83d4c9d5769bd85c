"""The command `restore`, and what commands say while the store lacks its data."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from app.access.access_notes import LOSS, StoreLoss, encode_loss, loss_in
from app.storage import embedded
from app.storage.interface.store import Store
from app.storage.redis.store import connect
from tests.support.logtext import AT_S, dynometer

PUBLIC = {"DYNOMETER_PUBLIC_URL": "https://metrics.example.com"}


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """The data directory of a running store that lost 3 drains and 2 tokens."""
    with embedded.start(tmp_path):
        note = encode_loss(StoreLoss(int(AT_S), 3, 2))
        in_store(tmp_path, lambda store: store.compare_and_set_note(LOSS, "", note))
        yield tmp_path


def in_store(data_dir: Path, use: Callable[[Store], Awaitable[object]]) -> None:
    async def run() -> None:
        url = embedded.find_running(data_dir)
        assert url
        store = connect(url)
        try:
            await use(store)
        finally:
            await store.close()

    asyncio.run(run())


def run(data_dir: Path, *arguments: str) -> tuple[int, str, str]:
    result = dynometer(*arguments, settings={"DYNOMETER_DATA_DIR": str(data_dir), **PUBLIC})
    return result.returncode, result.stdout.decode(), result.stderr.decode()


def test_a_loss_is_given_up_once(data_dir: Path) -> None:
    code, _, error = run(data_dir, "restore", "--discard")
    assert code == 0
    assert "Given up: 3 drains and 2 read tokens." in error

    async def check(store: Store) -> None:
        loss = loss_in((await store.access_tables()).notes)
        assert loss is not None
        assert loss.state == "discarded"

    in_store(data_dir, check)
    assert "Nothing to restore" in run(data_dir, "restore", "--discard")[2]
    assert "Nothing to restore" in run(data_dir, "restore")[2]


def test_until_then_access_is_not_changed(data_dir: Path) -> None:
    for arguments in (("drains", "add", "shop"), ("tokens", "remove", "any")):
        code, _, error = run(data_dir, *arguments)
        assert code == 2
        assert "The store lost its data at" in error
        assert "dynometer restore" in error


def test_the_list_of_drains_says_that_some_may_be_missing(data_dir: Path) -> None:
    code, _, error = run(data_dir, "drains", "list")
    assert code == 0
    assert "The store lost its data at" in error


def test_doctor_finds_the_loss(data_dir: Path) -> None:
    code, output, _ = run(data_dir, "doctor", "--json")
    assert code == 1
    texts = [finding["text"] for finding in json.loads(output) if not finding["ok"]]
    assert any("The store lost its data" in text for text in texts), texts
