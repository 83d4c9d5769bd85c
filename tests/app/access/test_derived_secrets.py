"""Secrets that are verified without a store, and what removes them."""

from __future__ import annotations

import re

import pytest

from app.access.access_file import StoredAccess
from app.access.access_notes import loss_notice
from app.access.app_removal import AppRemoval
from app.access.derived_secrets import derive_secret, verify_derived
from app.access.drain_admin import DrainAdmin
from app.access.drain_registry import DrainRegistry
from app.access.drain_secrets import decode
from app.access.restoration import discard, restore
from app.storage.interface.errors import StoreUnavailable
from app.storage.memory import MemoryStore
from tests.support.registry import drain_registry
from tests.support.service import Clock

KEY = "a key of the settings"
STORE = "0123456789abcdef" * 2


class Deployment:
    """A service whose workers have no disk, like dynos."""

    def __init__(self) -> None:
        self.key = KEY
        self.clock = Clock()
        self.store = MemoryStore(self.clock)

    def lose_data(self) -> None:
        self.store = MemoryStore(self.clock)

    def new_worker(self) -> DrainRegistry:
        return drain_registry(self.store, self.clock, secret_key=self.key)

    @property
    def admin(self) -> DrainAdmin:
        return DrainAdmin(self.store, self.clock, "https://metrics.example.com", self.key)

    async def add(self, app: str) -> str:
        return secret_in((await self.admin.add(app)).add)

    async def rotate(self, app: str, *, at_once: bool = False) -> str:
        return secret_in((await self.admin.rotate(app, at_once=at_once)).add)

    async def decide(self) -> None:
        """End the loss as the operator does."""
        await restore(self.store, StoredAccess(), wait_s=0)


def secret_in(command: str) -> str:
    match = re.search(r"://[^:]+:([A-Za-z0-9_-]+)@", command)
    assert match
    return match[1]


@pytest.fixture
def deployment() -> Deployment:
    return Deployment()


def test_a_secret_is_of_its_key_app_and_generation_only() -> None:
    secret = derive_secret(KEY, "shop", 2, STORE)
    assert verify_derived(KEY, "shop", secret) == ("01234567", 2)
    assert verify_derived("another key", "shop", secret) is None
    assert verify_derived(KEY, "blog", secret) is None
    assert verify_derived(KEY, "shop", secret.replace("-2-", "-3-")) is None
    assert verify_derived(KEY, "shop", secret.replace("0123", "3210")) is None
    for other in ("", "x", secret[:-1], secret + "x", secret.replace("-2-", "-02-")):
        assert verify_derived(KEY, "shop", other) is None
    assert verify_derived("", "shop", derive_secret("", "shop", 2, STORE)) is None


async def test_after_a_loss_the_record_is_written_again(deployment: Deployment) -> None:
    secrets = {app: await deployment.add(app) for app in ("shop", "blog")}
    deployment.lose_data()
    worker = deployment.new_worker()
    for app, secret in secrets.items():
        assert await worker.verify(app, secret) == 1
        assert await deployment.new_worker().verify(app, secret) == 1
    assert (await deployment.store.drains()).keys() == secrets.keys()
    assert "lost its data" in await loss_notice(deployment.store)
    await deployment.decide()
    for app, secret in secrets.items():
        assert await deployment.new_worker().verify(app, secret) == 1
    assert not await deployment.new_worker().verify("shop", secrets["blog"])


async def test_a_worker_that_starts_in_an_outage_accepts_it(deployment: Deployment) -> None:
    secret = await deployment.add("shop")

    class AbsentStore(MemoryStore):
        async def drains(self) -> dict[str, str]:
            raise StoreUnavailable("Redis is unavailable")

    deployment.store = AbsentStore(deployment.clock)
    assert await deployment.new_worker().verify("shop", secret) == 1
    with pytest.raises(StoreUnavailable):
        await deployment.new_worker().verify("blog", secret)


async def test_a_removed_drain_stays_removed(deployment: Deployment) -> None:
    secret = await deployment.add("shop")
    await deployment.admin.remove("shop")
    assert not await deployment.new_worker().verify("shop", secret)
    new_secret = await deployment.add("shop")
    assert new_secret != secret
    assert not await deployment.new_worker().verify("shop", secret)
    assert await deployment.new_worker().verify("shop", new_secret) == 2


async def test_a_drain_that_came_back_after_a_loss_can_be_removed(deployment: Deployment) -> None:
    first = await deployment.add("shop")
    second = await deployment.rotate("shop")
    deployment.lose_data()
    assert await deployment.new_worker().verify("shop", second) == 2
    await deployment.decide()
    await AppRemoval(deployment.store, [], deployment.clock, 60, staleness_s=0).remove("shop")
    for secret in (first, second):
        assert not await deployment.new_worker().verify("shop", secret)


async def test_a_removed_secret_may_come_back_with_a_loss_unless_the_key_is_changed(
    deployment: Deployment,
) -> None:
    secret = await deployment.add("shop")
    await deployment.admin.remove("shop")
    other = await deployment.add("blog")
    deployment.lose_data()
    deployment.key = "another key of the settings"
    for app, old_secret in (("shop", secret), ("blog", other)):
        assert not await deployment.new_worker().verify(app, old_secret)
    deployment.key = KEY
    assert await deployment.new_worker().verify("shop", secret) == 1


async def test_a_new_key_ends_no_secret_that_has_a_record(deployment: Deployment) -> None:
    secret = await deployment.add("shop")
    deployment.key = "another key of the settings"
    assert await deployment.new_worker().verify("shop", secret) == 1
    new_secret = await deployment.rotate("shop", at_once=True)
    assert not await deployment.new_worker().verify("shop", secret)
    assert await deployment.new_worker().verify("shop", new_secret) == 2


async def test_after_a_loss_a_newer_secret_ends_an_older_one(deployment: Deployment) -> None:
    old = await deployment.add("shop")
    new = await deployment.rotate("shop", at_once=True)
    deployment.lose_data()
    assert await deployment.new_worker().verify("shop", old) == 1
    assert await deployment.new_worker().verify("shop", new) == 2
    await deployment.decide()
    await deployment.rotate("shop", at_once=True)
    for secret in (old, new):
        assert not await deployment.new_worker().verify("shop", secret)


async def test_an_older_secret_does_not_come_back_beside_a_newer_one(
    deployment: Deployment,
) -> None:
    old = await deployment.add("shop")
    new = await deployment.rotate("shop", at_once=True)
    deployment.lose_data()
    assert await deployment.new_worker().verify("shop", new) == 2
    await deployment.decide()
    assert not await deployment.new_worker().verify("shop", old)
    (secret,) = decode((await deployment.store.drains())["shop"]).secrets
    assert secret.generation == 2


async def test_what_the_operator_gave_up_is_not_written_again(deployment: Deployment) -> None:
    secrets = {app: await deployment.add(app) for app in ("shop", "blog")}
    deployment.lose_data()
    assert await deployment.new_worker().verify("shop", secrets["shop"])
    await discard(deployment.store)
    assert not await deployment.new_worker().verify("blog", secrets["blog"])
    assert await deployment.new_worker().verify("shop", secrets["shop"])
    await deployment.admin.remove("shop")
    assert not await deployment.new_worker().verify("shop", secrets["shop"])
