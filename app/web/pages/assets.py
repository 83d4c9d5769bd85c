"""Static files: style sheet and scripts, and the chart library if it is installed."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

_PACKAGE = Path(__file__).parents[1]
_STATIC = _PACKAGE / "static"
_VENDOR = _PACKAGE / "vendor"  # 'npm ci' copies the chart library there
_VENDOR_FILES = {"uPlot.iife.min.js": "text/javascript", "uPlot.min.css": "text/css"}


def has_charts() -> bool:
    """Whether the chart library is installed. Without it, charts are static pictures."""
    return all((_VENDOR / name).is_file() for name in _VENDOR_FILES)


def mount_assets(app: FastAPI) -> None:
    """Serve the files under /static."""

    async def vendor_file(name: str) -> Response:
        if name not in _VENDOR_FILES or not (_VENDOR / name).is_file():
            return PlainTextResponse("Not found. Run 'npm ci' to install the charts.\n", 404)
        return FileResponse(_VENDOR / name, media_type=_VENDOR_FILES[name])

    app.add_api_route(
        "/static/vendor/{name}", vendor_file, include_in_schema=False, response_model=None
    )
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
