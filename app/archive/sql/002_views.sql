-- Views in the words of the API. Times of requests are in milliseconds.

CREATE VIEW dynometer.requests_by_hour AS
SELECT
    app, t, process_type, outcome, requests,
    sum_ms::double precision / nullif(timed, 0) AS service_time_ms_avg,
    dynometer.percentile_ms(bins, counts, 0.5, max_ms) AS service_time_ms_p50,
    dynometer.percentile_ms(bins, counts, 0.95, max_ms) AS service_time_ms_p95,
    dynometer.percentile_ms(bins, counts, 0.99, max_ms) AS service_time_ms_p99,
    CASE WHEN timed > 0 THEN max_ms END AS service_time_ms_max,
    le_500::double precision / nullif(timed, 0) AS service_time_ms_le_500,
    connect_sum_ms::double precision / nullif(connect_timed, 0) AS connect_time_ms_avg,
    dynometer.percentile_ms(connect_bins, connect_counts, 0.95, connect_max_ms) AS connect_time_ms_p95,
    timed, sum_ms, max_ms, bins, counts
FROM dynometer.request_hours;

CREATE VIEW dynometer.requests_by_day AS
SELECT
    app, t, process_type, outcome, requests,
    sum_ms::double precision / nullif(timed, 0) AS service_time_ms_avg,
    dynometer.percentile_ms(bins, counts, 0.5, max_ms) AS service_time_ms_p50,
    dynometer.percentile_ms(bins, counts, 0.95, max_ms) AS service_time_ms_p95,
    dynometer.percentile_ms(bins, counts, 0.99, max_ms) AS service_time_ms_p99,
    CASE WHEN timed > 0 THEN max_ms END AS service_time_ms_max,
    le_500::double precision / nullif(timed, 0) AS service_time_ms_le_500,
    connect_sum_ms::double precision / nullif(connect_timed, 0) AS connect_time_ms_avg,
    dynometer.percentile_ms(connect_bins, connect_counts, 0.95, connect_max_ms) AS connect_time_ms_p95,
    timed, sum_ms, max_ms, bins, counts
FROM dynometer.request_days;

CREATE VIEW dynometer.statuses_by_hour AS
SELECT app, t, process_type, labels ->> 'status' AS status, value AS requests
FROM dynometer.count_hours WHERE metric = 'requests';

CREATE VIEW dynometer.statuses_by_day AS
SELECT app, t, process_type, labels ->> 'status' AS status, value AS requests
FROM dynometer.count_days WHERE metric = 'requests';

CREATE VIEW dynometer.errors_by_hour AS
SELECT app, t, process_type, labels ->> 'code' AS code, value AS errors
FROM dynometer.count_hours WHERE metric = 'heroku_errors';

CREATE VIEW dynometer.errors_by_day AS
SELECT app, t, process_type, labels ->> 'code' AS code, value AS errors
FROM dynometer.count_days WHERE metric = 'heroku_errors';

CREATE VIEW dynometer.measurements_by_hour AS
SELECT
    app, t, metric, coalesce(unit, labels ->> 'unit', '') AS unit, process_type, dyno,
    labels ->> 'addon' AS addon, labels ->> 'attachment' AS attachment,
    labels ->> 'source' AS source, samples, sum,
    sum::double precision / nullif(samples, 0) AS avg, min, max, last,
    dynometer.percentile_number(bins, counts, 0.5) AS p50,
    dynometer.percentile_number(bins, counts, 0.95) AS p95,
    dynometer.percentile_number(bins, counts, 0.99) AS p99,
    bins, counts
FROM dynometer.measurement_hours LEFT JOIN dynometer.metrics USING (metric);

CREATE VIEW dynometer.measurements_by_day AS
SELECT
    app, t, metric, coalesce(unit, labels ->> 'unit', '') AS unit, process_type, dyno,
    labels ->> 'addon' AS addon, labels ->> 'attachment' AS attachment,
    labels ->> 'source' AS source, samples, sum,
    sum::double precision / nullif(samples, 0) AS avg, min, max, last,
    dynometer.percentile_number(bins, counts, 0.5) AS p50,
    dynometer.percentile_number(bins, counts, 0.95) AS p95,
    dynometer.percentile_number(bins, counts, 0.99) AS p99,
    bins, counts
FROM dynometer.measurement_days LEFT JOIN dynometer.metrics USING (metric);

CREATE VIEW dynometer.dynos_by_hour AS
SELECT
    app, t, process_type,
    dyno_minutes::double precision / nullif(active_minutes, 0) AS dynos_avg,
    dynos_max, dyno_minutes / 60.0 AS dyno_hours
FROM dynometer.dyno_hours;

CREATE VIEW dynometer.dynos_by_day AS
SELECT
    app, t, process_type,
    dyno_minutes::double precision / nullif(active_minutes, 0) AS dynos_avg,
    dynos_max, dyno_minutes / 60.0 AS dyno_hours
FROM dynometer.dyno_days;

-- A release lasts until the next one, the latest until now. Releases that began or failed have a
-- detail of two words.
CREATE VIEW dynometer.releases AS
SELECT
    app, t, detail AS version,
    lead(t, 1, now()) OVER (PARTITION BY app ORDER BY t) AS until
FROM dynometer.events WHERE kind = 'release' AND detail NOT LIKE '% %';
