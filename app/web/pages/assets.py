"""Static files: style sheets and scripts, and the chart library if it is installed.

Their URLs hold a hash of all of them, so that browsers keep them for good, and take new ones as
soon as a page names them. Scripts import each other by relative URLs, which hold the hash too.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from os import stat_result
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_PACKAGE = Path(__file__).parents[1]
_STATIC = _PACKAGE / "static"
_VENDOR = _PACKAGE / "vendor"  # 'npm ci' copies the chart library there
_VENDOR_FILES = ("uPlot.iife.min.js", "uPlot.min.css")
_HASH_DIGITS = 12
_FOREVER = "public, max-age=31536000, immutable"
# While a new version is rolled out, a page of one version may ask another one for its files.
_OTHER_VERSION = "no-cache"


def has_charts() -> bool:
    """Whether the chart library is installed. Without it, charts are static pictures."""
    return all((_VENDOR / name).is_file() for name in _VENDOR_FILES)


def _files() -> dict[str, Path]:
    """The files by their name in URLs."""
    files = {path.name: path for path in sorted(_STATIC.iterdir()) if path.is_file()}
    vendor_files = {f"vendor/{name}": _VENDOR / name for name in _VENDOR_FILES}
    return {**files, **{name: path for name, path in vendor_files.items() if path.is_file()}}


@cache
def _version() -> str:
    """A hash of the names and contents of all files."""
    digest = sha256()
    for name, path in _files().items():
        content = path.read_bytes()
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()[:_HASH_DIGITS]


def asset_url(name: str) -> str:
    """The URL of a static file, such as dynometer.css."""
    return f"/static/{_version()}/{name}"


@cache
def script_urls() -> list[str]:
    """The URLs of all scripts that others import, so that browsers fetch them at once."""
    return [asset_url(name) for name in _files() if name.endswith(".js") and "/" not in name]


class _VersionedFiles(StaticFiles):
    """Serves a file under its own name, and under the hash for good."""

    def lookup_path(self, path: str) -> tuple[str, stat_result | None]:
        """Find a file; the hash of any version may stand before its name."""
        file = _files().get(path) or _files().get(path.partition("/")[2])
        return (str(file), file.stat()) if file and file.is_file() else ("", None)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, with the time for which browsers may keep it."""
        response = await super().get_response(path, scope)
        is_current = path.partition("/")[0] == _version()
        response.headers["cache-control"] = _FOREVER if is_current else _OTHER_VERSION
        return response


def mount_assets(app: FastAPI) -> None:
    """Serve the files under /static."""
    app.mount("/static", _VersionedFiles(directory=_STATIC), name="static")
