"""A primary of a cluster and its replica are down: answers about all apps cover the rest, and name
the missing ones.
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
            lost_app, other_app = cluster.kill_shard()

            metrics = (await client.get("/metrics")).text
            assert f'dynometer_messages_received_total{{app="{lost_app}"' in before
            assert f'dynometer_messages_received_total{{app="{lost_app}"' not in metrics
            assert f'dynometer_messages_received_total{{app="{other_app}"' in metrics
            assert "dynometer_store_up 0.0" in metrics
            assert "dynometer_apps_away 0.0" not in metrics

            all_apps = (await client.get("/")).text
            sentence = all_apps.partition("in the cluster is unavailable:")[2].partition(".")[0]
            assert lost_app in sentence.split(": ")[-1].strip().split(", ")
            assert f'href="/apps/{other_app}"' in all_apps
            assert f'href="/apps/{lost_app}"' not in all_apps
            assert (await client.get(f"/apps/{other_app}")).status_code == 200
            assert (await client.get(f"/apps/{lost_app}")).status_code == 503
            assert (await client.get(f"/metrics?app={other_app}")).text.count(
                "dynometer_apps_away 0.0"
            )
