"""The command `tokens`: shown once, stored as hashes, listed and revoked by id."""

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
    """The data directory of a running store."""
    with embedded.start(tmp_path):
        yield tmp_path


def tokens(data_dir: Path, *arguments: str) -> tuple[int, str, str]:
    result = dynometer("tokens", *arguments, settings={"DYNOMETER_DATA_DIR": str(data_dir)})
    return result.returncode, result.stdout.decode(), result.stderr.decode()


def listed(data_dir: Path) -> list[dict[str, object]]:
    tokens_listed: list[dict[str, object]] = json.loads(tokens(data_dir, "list", "--json")[1])
    return tokens_listed


def test_add_prints_only_the_token_and_names_its_apps(data_dir: Path) -> None:
    code, stdout, stderr = tokens(
        data_dir, "add", "--app", "shop", "--app", "blog-*", "--expires", "30d", "--name", "wall"
    )

    assert code == 0
    assert re.fullmatch(r"dyno_[a-z0-9]{8}_[A-Za-z0-9_-]{43}\n", stdout)
    assert "Reads shop, blog-* until 2" in stderr
    (token,) = listed(data_dir)
    assert (token["name"], token["apps"]) == ("wall", ["shop", "blog-*"])
    added_s, expires_s = token["added"], token["expires"]
    assert isinstance(added_s, int) and isinstance(expires_s, int)
    assert expires_s - added_s == 30 * 86_400


def test_a_token_without_apps_reads_every_one(data_dir: Path) -> None:
    _, _, stderr = tokens(data_dir, "add")

    assert "Reads every app" in stderr
    _, stdout, _ = tokens(data_dir, "list")
    assert stdout.splitlines()[1].split()[3:] == ["never", "every", "app"]


def test_a_list_shows_no_secret(data_dir: Path) -> None:
    _, stdout, _ = tokens(data_dir, "add")
    secret = stdout.strip().rpartition("_")[2]

    for form in ((), ("--json",)):
        assert secret not in tokens(data_dir, "list", *form)[1]


def test_remove_revokes_all_named_tokens_or_none(data_dir: Path) -> None:
    tokens(data_dir, "add")
    (token,) = listed(data_dir)
    token_id = str(token["id"])

    code, _, stderr = tokens(data_dir, "remove", token_id, "aaaaaaaa")
    assert (code, "No such token: aaaaaaaa" in stderr) == (2, True)
    assert len(listed(data_dir)) == 1

    assert tokens(data_dir, "remove", token_id)[0] == 0
    assert listed(data_dir) == []


@pytest.mark.parametrize(
    "arguments", [("--app", "A b"), ("--expires", "0d"), ("--expires", "soon"), ("--name", "a\nb")]
)
def test_an_invalid_argument_is_rejected(data_dir: Path, arguments: tuple[str, ...]) -> None:
    assert tokens(data_dir, "add", *arguments)[:2] == (2, "")
    assert listed(data_dir) == []
