"""Tells review apps by their names. They come and go with a pull request, so none is ever silent.

Heroku names them after the pipeline's app and the pull request: shop-pr-123, or with a few random
letters at the end (Heroku Dev Center, "Review Apps").
"""

from __future__ import annotations

from collections.abc import Iterable

from app.rollup.resolutions import HOUR_S
from app.support.globs import matches_glob

DEFAULT_GLOBS = ("*-pr-[0-9]*",)
GONE_S = 48 * HOUR_S  # after its last line, a review app is no longer shown


def is_review_app(app: str, globs: Iterable[str] = DEFAULT_GLOBS) -> bool:
    """Whether the name of an app matches one of the patterns."""
    return any(matches_glob(app, glob) for glob in globs)


def is_gone(last_seen_s: float, now_s: float) -> bool:
    """Whether a review app has sent no line for so long that it was probably deleted."""
    return now_s - last_seen_s > GONE_S
