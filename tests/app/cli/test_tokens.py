"""The command `tokens`: shown once, kept as hashes, listed and ended by id."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.storage import embedded
from tests.support.logtext import dynometer


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """The data directory of a store that runs."""
    with embedded.start(tmp_path):
        yield tmp_path


def tokens(data_dir: Path, *arguments: str) -> tuple[int, str, str]:
    done = dynometer("tokens", *arguments, settings={"DYNOMETER_DATA_DIR": str(data_dir)})
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def listed(data_dir: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(tokens(data_dir, "list", "--json")[1])
    return found


def test_add_prints_the_token_alone_and_says_what_it_reads(data_dir: Path) -> None:
    code, printed, said = tokens(
        data_dir, "add", "--app", "shop", "--app", "blog-*", "--expires", "30d", "--name", "wall"
    )

    assert code == 0
    assert re.fullmatch(r"dyno_[a-z0-9]{8}_[A-Za-z0-9_-]{43}\n", printed)
    assert "Reads shop, blog-* until 2" in said
    (token,) = listed(data_dir)
    assert (token["name"], token["apps"]) == ("wall", ["shop", "blog-*"])
    added, expires = token["added"], token["expires"]
    assert isinstance(added, int) and isinstance(expires, int)
    assert expires - added == 30 * 86_400


def test_a_token_without_apps_reads_every_one(data_dir: Path) -> None:
    _, _, said = tokens(data_dir, "add")

    assert "Reads every app" in said
    _, printed, _ = tokens(data_dir, "list")
    assert printed.splitlines()[1].split()[3:] == ["never", "every", "app"]


def test_a_list_shows_no_secret(data_dir: Path) -> None:
    _, printed, _ = tokens(data_dir, "add")
    secret = printed.strip().rpartition("_")[2]

    for form in ((), ("--json",)):
        assert secret not in tokens(data_dir, "list", *form)[1]


def test_remove_ends_those_named_or_none(data_dir: Path) -> None:
    tokens(data_dir, "add")
    (token,) = listed(data_dir)
    known = str(token["id"])

    code, _, said = tokens(data_dir, "remove", known, "aaaaaaaa")
    assert (code, "aaaaaaaa: no such token" in said) == (2, True)
    assert len(listed(data_dir)) == 1

    assert tokens(data_dir, "remove", known)[0] == 0
    assert listed(data_dir) == []


@pytest.mark.parametrize(
    "arguments", [("--app", "A b"), ("--expires", "0d"), ("--expires", "soon"), ("--name", "a\nb")]
)
def test_what_cannot_be_meant_is_refused(data_dir: Path, arguments: tuple[str, ...]) -> None:
    assert tokens(data_dir, "add", *arguments)[:2] == (2, "")
    assert listed(data_dir) == []
