"""The memory of sent lines: its size, and the store that it belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.traffic.sent_lines import SentLines, sent_lines_path

URL, OTHER_URL = "http://127.0.0.1:8080", "http://localhost:8080"
STORE, EMPTIED_STORE = "0f" * 16, "1e" * 16


def test_memory_forgets_a_half_written_digest(tmp_path: Path) -> None:
    path = tmp_path / "shop"
    memory = SentLines(path)
    key = memory.next_keys(b"a line", b"")[0]
    memory.add([key])
    path.write_bytes(path.read_bytes() + b"half")

    second_memory = SentLines(path)

    assert key in second_memory
    assert path.stat().st_size == 8


def test_memory_keeps_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "shop"
    memory = SentLines(path, lines_max=10)
    keys = [memory.next_keys(b"line %d" % number, b"")[0] for number in range(25)]
    for key in keys:
        memory.add([key])

    second_memory = SentLines(path, lines_max=10)

    assert all(key in second_memory for key in keys[-10:])
    assert not any(key in second_memory for key in keys[:10])
    assert path.stat().st_size <= 8 * 10


def send(directory: Path, line: bytes, *, url: str = URL, store_id: str = STORE) -> bool:
    """Send a line unless it was sent before; returns whether it was sent now."""
    memory = SentLines(sent_lines_path(directory, "shop", url, store_id))
    key = memory.next_keys(line, b"")[0]
    is_new = key not in memory
    if is_new:
        memory.add([key])
    return is_new


def test_a_line_is_sent_once_by_whatever_address_the_store_is_reached(tmp_path: Path) -> None:
    assert send(tmp_path, b"line")
    assert not send(tmp_path, b"line", url=OTHER_URL)


def test_an_emptied_store_is_sent_everything_again(tmp_path: Path) -> None:
    send(tmp_path, b"line")

    assert send(tmp_path, b"line", store_id=EMPTIED_STORE)
    assert not send(tmp_path, b"line", store_id=EMPTIED_STORE)


def test_apps_have_lines_of_their_own(tmp_path: Path) -> None:
    assert sent_lines_path(tmp_path, "shop", URL, STORE) != sent_lines_path(
        tmp_path, "blog", URL, STORE
    )


def test_the_lines_kept_for_addresses_are_taken_over(tmp_path: Path) -> None:
    send(tmp_path, b"one", store_id="")
    send(tmp_path, b"two", store_id="", url=OTHER_URL)

    assert not send(tmp_path, b"one")
    assert not send(tmp_path, b"two", url=OTHER_URL)
    assert not send(tmp_path, b"two")


def test_lines_kept_for_an_address_are_taken_over_once(tmp_path: Path) -> None:
    send(tmp_path, b"line", store_id="")
    send(tmp_path, b"line")

    assert send(tmp_path, b"line", store_id=EMPTIED_STORE)


@pytest.mark.parametrize("length", [0, 1, 7, 9])
def test_a_half_written_digest_is_not_taken_over(tmp_path: Path, length: int) -> None:
    sent_lines_path(tmp_path, "shop", URL, "").parent.mkdir(exist_ok=True)
    sent_lines_path(tmp_path, "shop", URL, "").write_bytes(b"x" * length)

    assert send(tmp_path, b"line")
    assert sent_lines_path(tmp_path, "shop", URL, STORE).stat().st_size == length // 8 * 8 + 8


def test_while_the_store_is_unknown_the_address_leads_to_its_lines(tmp_path: Path) -> None:
    send(tmp_path, b"one")

    assert not send(tmp_path, b"one", store_id="")
    assert send(tmp_path, b"two", store_id="")
    assert not send(tmp_path, b"two")


def test_a_file_that_an_older_version_trimmed_is_taken_over(tmp_path: Path) -> None:
    """It opens the link, but replaces it by a file of its own when it trims."""
    link = sent_lines_path(tmp_path, "shop", URL, "")
    send(tmp_path, b"one")
    older_version = SentLines(link, lines_max=1)
    older_version.add([older_version.next_keys(b"%d" % number, b"")[0] for number in range(3)])
    assert not link.is_symlink()
    older_version.add([older_version.next_keys(b"two", b"")[0]])

    assert not send(tmp_path, b"one")
    assert not send(tmp_path, b"two")
