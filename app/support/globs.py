"""Matches names against patterns with *, ? and [letters].

Readers write the patterns. Python's fnmatch keeps 32,768 of them compiled, however long they are.
"""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache

GLOB_LENGTH_MAX = 256  # no name is as long
_CACHED_GLOBS_MAX = 1_024


def matches_glob(name: str, glob: str) -> bool:
    """Whether a name matches a pattern, as fnmatch.fnmatchcase; a longer pattern matches none."""
    return len(glob) <= GLOB_LENGTH_MAX and _compile(glob).match(name) is not None


@lru_cache(_CACHED_GLOBS_MAX)
def _compile(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob))
