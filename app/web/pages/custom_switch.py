"""POST /apps/{app}/custom: the buttons that switch an app's custom metrics on and off.

app.web.authentication requires the admin token for POST, and a page of this service as its origin.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from app.access.access_copy import AccessCopy
from app.access.custom_switch import switch_custom
from app.storage.interface.access import AccessStore
from app.storage.interface.errors import StoreUnavailable
from app.storage.interface.store import Reader
from app.web.pages.rendering import Pages


class CustomSwitchPage:
    """The route. `reader` is restricted to the apps that the current request may see."""

    def __init__(
        self, reader: Reader, store: AccessStore, access: AccessCopy, pages: Pages
    ) -> None:
        self._reader = reader
        self._store = store
        self._access = access
        self._page = pages.page
        self.router = APIRouter()
        self.router.add_api_route(
            *("/apps/{app}/custom", self.switch),
            methods=["POST"],
            include_in_schema=False,
            response_model=None,
        )

    async def switch(self, request: Request, app: str) -> Response:
        """Switch custom metrics on if the field `on` is 1, else off, and return to the app."""
        fields = parse_qs((await request.body()).decode("utf-8", "replace"))
        try:
            if app not in [sighting.app for sighting in await self._reader.seen_apps()]:
                return self._page(request, "unknown_app.html", status=404, app="")
            await switch_custom(self._store, app, is_on=fields.get("on") == ["1"])
            await self._access.latest()
        except StoreUnavailable as error:
            return self._page(request, "store_unavailable.html", status=503, reason=str(error))
        return RedirectResponse(f"/apps/{app}#custom", 303)
