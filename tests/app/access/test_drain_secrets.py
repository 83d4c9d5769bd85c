"""Drain secrets: creation, rotation and expiry."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.drain_secrets import (
    RETIRED_AFTER_S,
    SECRETS_MAX,
    DrainRecord,
    Secret,
    create_record,
    decode,
    encode,
    hash_secret,
    link_token,
    new_secret,
    retire_secrets,
    rotate_secret,
    unlink_token,
)

NOW_S = 1_795_341_630


def generations(drain: DrainRecord) -> list[int]:
    return [secret.generation for secret in drain.secrets]


def test_a_secret_is_32_bytes_in_characters_that_need_no_escape_in_a_url() -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", new_secret())
    assert len({new_secret() for _ in range(1000)}) == 1000


def test_a_drain_is_read_back_as_it_was_written() -> None:
    drain = rotate_secret(
        create_record("a", NOW_S, last_generation=0), "b", NOW_S, active_generation=1, at_once=False
    )
    assert decode(encode(drain)) == drain


def test_whatever_changes_a_space_keeps_its_apps() -> None:
    drain = create_record("a", 100, last_generation=0, apps=["shop", "blog"])
    drain = rotate_secret(drain, "b", 200, active_generation=1, at_once=False)
    drain = unlink_token(link_token(drain, "host"), "host")
    drain = retire_secrets(drain, 2, 300)
    assert decode(encode(drain)).apps == ["shop", "blog"]


def test_a_bare_hash_is_a_drain_of_the_first_generation() -> None:
    assert decode(hash_secret("a")) == DrainRecord([Secret(hash_secret("a"), 1)])


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=12))
def test_however_often_it_is_rotated_the_secret_in_use_and_the_newest_stay_valid(
    steps: list[tuple[int, bool]],
) -> None:
    drain = create_record("0", NOW_S, last_generation=0)
    for number, (active, at_once) in enumerate(steps, 1):
        before = generations(drain)
        drain = rotate_secret(drain, str(number), NOW_S, active_generation=active, at_once=at_once)
        after = generations(drain)
        assert after[-1] == before[-1] + 1
        assert drain.secrets[-1].hash == hash_secret(str(number))
        assert len(after) <= SECRETS_MAX
        assert after[:-1] == ([] if at_once else [active if active in before else before[-1]])


@pytest.mark.parametrize("active", [0, 1])
def test_before_the_changeover_no_secret_expires(active: int) -> None:
    drain = rotate_secret(
        create_record("a", NOW_S, last_generation=0), "b", NOW_S, active_generation=1, at_once=False
    )
    assert retire_secrets(drain, active, NOW_S) == drain


def test_after_the_changeover_the_old_secret_expires_in_a_day_and_is_removed() -> None:
    drain = rotate_secret(
        create_record("a", NOW_S, last_generation=0), "b", NOW_S, active_generation=1, at_once=False
    )

    ending = retire_secrets(drain, 2, NOW_S)
    assert [secret.until_s for secret in ending.secrets] == [NOW_S + RETIRED_AFTER_S, 0]
    assert retire_secrets(ending, 2, NOW_S + 100) == ending
    assert generations(retire_secrets(ending, 2, NOW_S + RETIRED_AFTER_S)) == [2]
