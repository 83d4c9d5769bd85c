"""The list, the page, the alert, the API and the command say the same of one app."""

from __future__ import annotations

import re
from html import unescape

import pytest

from app.cli.status import print_status
from app.verdicts.urgency import worst_first
from app.verdicts.verdict_reader import VerdictReader
from tests.support.incident import TIERS, quiet, release, world
from tests.support.service import client_of


async def test_every_surface_says_the_same_of_an_app_that_is_down(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with world() as shop:
        await shop.live(70, quiet)
        await shop.append([release(shop.clock.now_s)])
        await shop.live(12, lambda at_s: quiet(at_s, failed=60))

        async with client_of(shop.store, shop.clock) as client:
            verdict = (await client.get("/api/v1/apps/shop/verdict")).json()
            (listed,) = (await client.get("/api/v1/verdicts")).json()["verdicts"]
            list_text = text_of((await client.get("/")).text)
            page_text = text_of((await client.get("/apps/shop")).text)
            alerts = (await client.get("/api/v1/alerts")).json()["alerts"]
        reader = VerdictReader(shop.store, TIERS)
        verdicts = await reader.current(await shop.store.seen_apps(), shop.clock())
        exit_code = print_status(worst_first(verdicts.values()))

        summary = verdict["summary"]
        first_sentence = summary.partition(". ")[0]
        assert (verdict["state"], listed) == ("down", verdict)
        assert verdict["since"] == verdict["findings"][0]["since"]
        assert first_sentence.startswith("Down since 10:10 UTC")
        assert "release v42" in summary
        assert "■ Down" in list_text
        assert first_sentence.removeprefix("Down ") in list_text
        assert summary in page_text
        assert exit_code == 4
        assert summary in " ".join(capsys.readouterr().out.split())
        firing = [alert for alert in alerts if alert["phase"] == "firing"]
        assert firing[0]["since"] == verdict["since"]
        assert firing[0]["what"].startswith("Down since 10:10 UTC")
        assert "Down since 10:10 UTC" in shop.told[0].message["text"]


@pytest.mark.parametrize("minutes", [2, 12])
@pytest.mark.parametrize(("failed", "share"), [(60, "100 %"), (15, "25 %")])
async def test_every_surface_shows_the_same_share_of_failed_requests(
    minutes: int, failed: int, share: str
) -> None:
    async with world() as shop:
        await shop.live(70, quiet)
        start_s = int(shop.clock.now_s)
        await shop.live(minutes + 1, lambda at_s: quiet(at_s, failed=failed))
        shop.clock.now_s += 1  # the page's range ends with the minute, so it is not past

        async with client_of(shop.store, shop.clock) as client:
            verdict = (await client.get("/api/v1/apps/shop/verdict")).json()
            list_html = (await client.get("/")).text
            page_html = (await client.get("/apps/shop")).text

        what = verdict["findings"][0]["what"]
        window_min = min(minutes, 5)
        shown = share if window_min == 5 else f"{share} last {window_min} min"
        row = text_of(list_html.partition('data-label="fail">')[2].partition("</td>")[0])
        tile = text_of(page_html.partition("<dt>failed</dt>")[2].partition("</dd>")[0])
        assert verdict["judged_until"] == start_s + minutes * 60
        assert (what["value"], what["window_s"]) == (failed / 60, window_min * 60)
        told = "every request" if failed == 60 else f"{share} of requests (last {window_min} min)"
        assert told in verdict["summary"]
        assert (row.strip(), tile.strip()) == (shown, shown)


async def test_an_incident_of_the_past_is_told_as_it_was_judged() -> None:
    async with world() as shop:
        await shop.live(70, quiet)
        start_s = int(shop.clock.now_s)
        await shop.live(12, lambda at_s: quiet(at_s, failed=60))
        await shop.live(40, quiet)

        async with client_of(shop.store, shop.clock) as client:
            past = f"start={start_s - 600}&end={start_s + 1200}"
            verdict = (await client.get(f"/api/v1/apps/shop/verdict?{past}")).json()
            body = (await client.get(f"/api/v1/apps/shop/episodes?{past}")).json()
            page_text = text_of((await client.get(f"/apps/shop?{past}")).text)
            current = (await client.get("/api/v1/apps/shop/verdict")).json()
            current_text = text_of((await client.get("/apps/shop")).text)

        (episode,) = body["episodes"]
        assert (verdict["state"], current["state"]) == ("down", "ok")
        assert abs(verdict["since"] - start_s) <= 60
        assert abs(verdict["until"] - (start_s + 720)) <= 60
        assert (episode["since"], episode["until"]) == (verdict["since"], verdict["until"])
        assert verdict["summary"].startswith("Was down from 10:10 to 10:22 UTC (12 min)")
        assert verdict["summary"] in page_text
        assert "■ Down" in page_text
        assert "● OK" in current_text
        assert current_text.count("Problems of the last 7 days") == 1
        assert episode["summary"] in current_text


def text_of(html: str) -> str:
    """The text without markup."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", html)))
