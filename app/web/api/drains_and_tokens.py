"""/api/v1/drains and /api/v1/tokens: who may send and who may read. For the admin; the gate sees to
that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from app.access.drain_admin import DrainAdmin, DrainAdminError
from app.access.drain_registry import APP_NAME
from app.access.drain_secrets import DRAIN_TOKEN
from app.access.drain_status import DrainStatus, drain_statuses, second_drains
from app.access.read_tokens import (
    APP_GLOB,
    NAME_LENGTH_MAX,
    new_token,
    pack_token,
    public_fields,
    unpack_token,
)
from app.access.rejected_logins import recent_rejected_logins
from app.storage.interface import Store
from app.web.api.problems import Problem

APPS_MAX = 1_000  # in one request
GLOBS_MAX = 100  # of one token

AppName = Annotated[str, Field(pattern=f"^{APP_NAME.pattern}$")]
AppPath = Annotated[str, Path(pattern=f"^{APP_NAME.pattern}$")]
DrainToken = Annotated[
    str, Path(pattern=f"^{DRAIN_TOKEN.pattern}$", description="HOSTNAME of the drain's messages")
]
Glob = Annotated[str, Field(pattern=f"^{APP_GLOB.pattern}$")]
T = TypeVar("T")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewDrains(_Body):
    """Apps that shall be allowed to send."""

    apps: list[AppName] = Field(min_length=1, max_length=APPS_MAX)


class Rotation(_Body):
    """How a secret is replaced."""

    at_once: bool = Field(
        False, description="End the old secret now; what still comes with it is refused"
    )


class EnrolledDrain(BaseModel):
    """Commands to run; the secret in `add` is shown only here."""

    app: str
    add: str = Field(description="Tells Heroku of the new drain")
    remove: str = Field(description="Ends the old one, once the new one counts; may be empty")


class EnrolledDrains(BaseModel):
    """One for each app."""

    drains: list[EnrolledDrain]


class RemovedDrain(BaseModel):
    """What is left to be done at Heroku."""

    app: str
    remove: list[str] = Field(description="Commands that end the drains at Heroku, where known")


class SecretInfo(BaseModel):
    """A secret that is accepted, of which only a hash is kept. Times in Unix seconds."""

    generation: int
    added: int
    ends: int | None


class ActiveDrainInfo(BaseModel):
    """The drain whose lines count."""

    token: str
    since: int = Field(description="From which its lines count, by their own time; 0: all")
    last_delivered: int


class OtherDrainInfo(BaseModel):
    """A drain that delivers the same lines again; they are not counted."""

    token: str
    last_delivered: int
    remove: str = Field(description="The command that ends it at Heroku")


class DrainBody(BaseModel):
    """An app. Times in Unix seconds."""

    app: str
    secrets: list[SecretInfo]
    links: int = Field(description="How many drain tokens speak for it over syslog")
    last_seen: int | None
    active_drain: ActiveDrainInfo | None
    other_drain: OtherDrainInfo | None


class RefusalInfo(BaseModel):
    """Log-ins at the drain that were refused. `user` and `token` are empty where what was sent has
    not the form of one.
    """

    user: str
    token: str
    reason: str
    count: int
    first: int
    last: int


class DrainsBody(BaseModel):
    """Every app, by name, and the last refusals, newest first."""

    drains: list[DrainBody]
    refusals: list[RefusalInfo]


class NewToken(_Body):
    """A read token to be made."""

    name: str = Field("", max_length=NAME_LENGTH_MAX, description="What it is for")
    apps: list[Glob] = Field(
        default_factory=lambda: ["*"],
        min_length=1,
        max_length=GLOBS_MAX,
        description="What it may read: names of apps, or patterns with * and ?",
    )
    expires: int | None = Field(None, gt=0, lt=2**40, description="Unix seconds; null for never")


class TokenBody(BaseModel):
    """A read token, without its secret part."""

    id: str
    name: str
    apps: list[str]
    added: int
    expires: int | None


class CreatedToken(TokenBody):
    """With `token`, which is shown only here."""

    token: str


class TokensBody(BaseModel):
    """Every token."""

    tokens: list[TokenBody]


class DrainsAndTokensApi:
    """The routes, over the store."""

    def __init__(self, store: Store, clock: Callable[[], float], public_url: str) -> None:
        self._store = store
        self._clock = clock
        self._enrolment = DrainAdmin(store, clock, public_url)
        self.router = APIRouter(prefix="/api/v1")
        routes: tuple[tuple[str, str, Any, Any, int], ...] = (
            ("GET", "/drains", self.drains, DrainsBody, 200),
            ("POST", "/drains", self.add_drains, EnrolledDrains, 201),
            ("POST", "/drains/{app}/rotate", self.rotate_drain, EnrolledDrain, 200),
            ("DELETE", "/drains/{app}", self.remove_drain, RemovedDrain, 200),
            ("PUT", "/drains/{app}/links/{token}", self.link, None, 204),
            ("DELETE", "/drains/{app}/links/{token}", self.unlink, None, 204),
            ("GET", "/tokens", self.tokens, TokensBody, 200),
            ("POST", "/tokens", self.add_token, CreatedToken, 201),
            ("DELETE", "/tokens/{token_id}", self.remove_token, None, 204),
        )
        for method, path, endpoint, model, status in routes:
            self.router.add_api_route(
                path,
                endpoint,
                methods=[method],
                response_model=model,
                status_code=status,
                summary=endpoint.__doc__,
            )

    async def drains(self) -> DrainsBody:
        """Who may send, which drain of each app counts, and who was refused"""
        infos = await drain_statuses(self._store)
        doubled = {info.app for info in second_drains(infos, self._clock())}
        return DrainsBody(
            drains=[_drain(info, doubled=info.app in doubled) for info in infos],
            refusals=[
                RefusalInfo(
                    user=each.user,
                    token=each.token,
                    reason=each.reason,
                    count=each.count,
                    first=each.first_s,
                    last=each.last_s,
                )
                for each in await recent_rejected_logins(self._store)
            ],
        )

    async def add_drains(self, body: NewDrains) -> EnrolledDrains:
        """Give apps their first secret: all of them, or none"""
        apps = list(dict.fromkeys(body.apps))
        await _managed(self._enrolment.ensure_unregistered(apps))
        enrolled = [await _managed(self._enrolment.add(app)) for app in apps]
        return EnrolledDrains(drains=[EnrolledDrain(**each._asdict()) for each in enrolled])

    async def rotate_drain(self, app: AppPath, body: Rotation | None = None) -> EnrolledDrain:
        """Replace an app's secret: the new drain takes over without a gap"""
        at_once = body is not None and body.at_once
        enrolled = await _managed(self._enrolment.rotate(app, at_once=at_once))
        return EnrolledDrain(**enrolled._asdict())

    async def remove_drain(self, app: AppPath) -> RemovedDrain:
        """Forget an app's secrets: it may not send any more; what was counted stays"""
        return RemovedDrain(app=app, remove=await _managed(self._enrolment.remove(app)))

    async def link(self, app: AppPath, token: DrainToken) -> None:
        """Let a drain token speak for an app over syslog, within 5 seconds"""
        await _managed(self._enrolment.link(app, token))

    async def unlink(self, app: AppPath, token: DrainToken) -> None:
        """Let a drain token speak for an app no more"""
        await _managed(self._enrolment.unlink(app, token))

    async def tokens(self) -> TokensBody:
        """The read tokens"""
        found = await self._store.tokens()
        return TokensBody(
            tokens=[
                TokenBody.model_validate(public_fields(key, unpack_token(record)))
                for key, record in sorted(found.items())
            ]
        )

    async def add_token(self, body: NewToken) -> CreatedToken:
        """Make a read token"""
        now_s = int(self._clock())
        if body.expires is not None and body.expires <= now_s:
            raise Problem(400, "Bad parameter", "expires lies in the past", parameter="expires")
        token, token_id, record = new_token(body.name, body.apps, now_s, body.expires or 0)
        await self._store.put_token(token_id, pack_token(record))
        return CreatedToken.model_validate({**public_fields(token_id, record), "token": token})

    async def remove_token(self, token_id: str) -> None:
        """End a read token, on all workers within 5 seconds"""
        if not await self._store.remove_token(token_id):
            raise Problem(404, "Unknown token", "There is no such token: see GET /api/v1/tokens.")


async def _managed(doing: Awaitable[T]) -> T:
    try:
        return await doing
    except DrainAdminError as error:
        raise Problem(409, "Not possible as things are", str(error)) from error


def _drain(info: DrainStatus, *, doubled: bool) -> DrainBody:
    active = ActiveDrainInfo(
        token=info.active_token, since=info.active_since_s, last_delivered=info.last_delivery_s
    )
    other = OtherDrainInfo(
        token=info.other_token, last_delivered=info.other_s, remove=info.remove_other
    )
    return DrainBody(
        app=info.app,
        secrets=[
            SecretInfo(generation=each.generation, added=each.added_s, ends=each.until_s or None)
            for each in info.secrets
        ],
        links=info.links,
        last_seen=info.last_seen_s or None,
        active_drain=active if info.active_token else None,
        other_drain=other if doubled else None,
    )
