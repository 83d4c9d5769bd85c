"""/api/v1/apps/{app}/custom: switches custom metrics of an app on and off.

app.web.authentication requires the admin token for changes.
"""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from app.access.access_copy import AccessCopy
from app.access.custom_switch import switch_custom
from app.storage.interface.access import AccessStore
from app.storage.interface.store import Reader
from app.web.api.drains_and_tokens import AppPath
from app.web.api.queries import require_app


class CustomSwitch(BaseModel):
    """Whether custom metrics are on for an app."""

    model_config = ConfigDict(extra="forbid")

    on: bool = Field(description="Whether the app's own output is searched for marks of metrics")


class CustomApi:
    """The routes."""

    def __init__(self, reader: Reader, store: AccessStore, access: AccessCopy) -> None:
        """`reader` shows only the apps that the request may see."""
        self._reader = reader
        self._store = store
        self._access = access
        self.router = APIRouter(prefix="/api/v1")
        for method, endpoint in (("GET", self.show), ("PUT", self.switch)):
            self.router.add_api_route(
                "/apps/{app}/custom", endpoint, methods=[method], summary=endpoint.__doc__
            )

    async def show(self, app: AppPath) -> CustomSwitch:
        """Whether custom metrics are on for an app"""
        await require_app(self._reader, app)
        return CustomSwitch(on=app in (await self._access.latest()).custom)

    async def switch(self, app: AppPath, body: CustomSwitch) -> CustomSwitch:
        """Switch custom metrics of an app on or off; takes effect within 5 seconds"""
        await require_app(self._reader, app)
        await switch_custom(self._store, app, is_on=body.on)
        await self._access.latest()
        return body
