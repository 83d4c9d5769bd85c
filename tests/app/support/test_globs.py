"""Patterns match as fnmatch's do, but long ones are not compiled and kept."""

from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from app.support import globs

TEXT = st.text("ab.*?[]!-", max_size=8)


@given(TEXT, TEXT)
def test_globs_match_as_in_the_standard_library(name: str, glob: str) -> None:
    assert globs.matches_glob(name, glob) == fnmatchcase(name, glob)


def test_a_long_glob_matches_nothing_and_is_not_kept() -> None:
    before = globs._compile.cache_info().currsize
    assert not globs.matches_glob("a", "*" * (globs.GLOB_LENGTH_MAX + 1))
    assert globs._compile.cache_info().currsize == before
