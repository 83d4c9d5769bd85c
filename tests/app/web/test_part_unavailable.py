"""A primary of a cluster is gone, and its replica: what is asked about all apps answers with the
others, and says who is missing.
"""

from __future__ import annotations

from app.storage import connect as engine
from tests.support.cluster import running_cluster
from tests.support.lines import AT_S, router
from tests.support.service import Clock, client_of, post


async def test_apps_on_a_primary_that_is_gone_are_left_out_and_named() -> None:
    clock = Clock()
    with running_cluster() as cluster:
        async with client_of(engine.connect(cluster.url), clock) as client:
            for n in range(20):
                answer = await post(client, router(AT_S), app=f"app-{n}")
                assert answer.status_code == 200
            before = (await client.get("/metrics")).text
            assert "dynometer_apps_away 0.0" in before
            lost, left = cluster.kill_shard()

            metrics = (await client.get("/metrics")).text
            assert f'dynometer_messages_total{{app="{lost}"' in before
            assert f'dynometer_messages_total{{app="{lost}"' not in metrics
            assert f'dynometer_messages_total{{app="{left}"' in metrics
            assert "dynometer_store_up 0.0" in metrics
            assert "dynometer_apps_away 0.0" not in metrics

            all_apps = (await client.get("/")).text
            away = all_apps.partition("does not answer:")[2].partition(".")[0]
            assert lost in away.split(": ")[-1].strip().split(", ")
            assert f'href="/apps/{left}"' in all_apps
            assert f'href="/apps/{lost}"' not in all_apps
            assert (await client.get(f"/apps/{left}")).status_code == 200
            assert (await client.get(f"/apps/{lost}")).status_code == 503
            assert (await client.get(f"/metrics?app={left}")).text.count("dynometer_apps_away 0.0")
