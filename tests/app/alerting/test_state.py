"""The state of alerts, as the store holds it and `dynometer alerts list --json` prints it."""

from __future__ import annotations

from app.alerting.state import Alert, AppAlerts, pack_app_alerts, unpack_app_alerts
from app.cli.alerts import alert_fields


def test_state_survives_the_store() -> None:
    alert = Alert("slow", "web", "firing", 60, breach_minutes=2, is_notified=True)
    alerts = AppAlerts(120, activity_mask=0b11, alerts=(alert,))

    assert unpack_app_alerts(pack_app_alerts(alerts)) == alerts


def test_the_json_of_an_alert_keeps_its_field_names() -> None:
    alert = Alert("slow", "web", "firing", 60, repeat_count=3, is_notified=True)
    fields = alert_fields(alert)

    assert list(fields) == [
        "rule",
        "key",
        "phase",
        "since_s",
        "fired_s",
        "bad",
        "quiet",
        "value",
        "limit",
        "worst",
        "last_bad_s",
        "again",
        "told",
        "detail",
        "parts",
        "summary",
    ]
    assert (fields["again"], fields["told"]) == (3, True)
