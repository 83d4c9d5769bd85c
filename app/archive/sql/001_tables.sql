-- The archive: what Dynometer keeps for years. Times are UTC, whatever the time zone of a session.
--
--   hours, days      one row per app and interval: the packed rollup, from which answers are exact
--   request_*        one row per process type and outcome: times of requests, with their sketches
--   measurement_*    one row per metric, dyno and labels: memory, load, add-ons, custom metrics, …
--   count_*          one row per metric, process type and labels: statuses, errors, exits, …
--   dyno_*           one row per process type: how many dynos were active
--   events           one row per event of an app or a dyno
--   episodes         one row per finding of a verdict that is over
--
-- Tables of hours are partitioned by week, all others by year. Partitions are made ahead, and
-- dropped by name at the end of their retention. Nothing else is ever deleted, except by
-- remove_app.

CREATE SCHEMA dynometer;

CREATE TABLE dynometer.migrations (
    number      integer PRIMARY KEY,
    name        text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE dynometer.migrations IS 'The versions of this schema: dynometer archive init';

-- How far each store is archived: every closed hour before archived_until was written, and every one
-- before final_until was read again when none of its lines could come any more.
CREATE TABLE dynometer.progress (
    store_id        uuid PRIMARY KEY,
    archived_until  timestamptz NOT NULL,
    final_until     timestamptz NOT NULL,
    written_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE dynometer.metrics (
    metric  text PRIMARY KEY,
    kind    text NOT NULL,
    unit    text NOT NULL,
    help    text NOT NULL
);
COMMENT ON TABLE dynometer.metrics IS 'The metrics of the API, and their units';

CREATE TABLE dynometer.apps (
    app       text PRIMARY KEY,
    first_at  timestamptz NOT NULL,
    last_at   timestamptz NOT NULL
);
COMMENT ON TABLE dynometer.apps IS 'The archived apps: the starts of the first and the last hour of each';

-- --- tables of hours ------------------------------------------------------------------------------

CREATE TABLE dynometer.hours (
    app         text NOT NULL,
    t           timestamptz NOT NULL,
    messages    bigint NOT NULL,
    store_id    uuid NOT NULL,
    written_at  timestamptz NOT NULL,
    rollup      bytea NOT NULL,
    PRIMARY KEY (app, t)
) PARTITION BY RANGE (t);
COMMENT ON TABLE dynometer.hours IS 'One row per app and hour: the packed rollup. A row is only replaced by one of more messages, or by a later one of the same store.';

CREATE TABLE dynometer.request_hours (
    app               text NOT NULL,
    t                 timestamptz NOT NULL,
    process_type      text NOT NULL,
    outcome           text NOT NULL,
    requests          bigint NOT NULL DEFAULT 0,
    timed             bigint NOT NULL DEFAULT 0,
    sum_ms            bigint NOT NULL DEFAULT 0,
    max_ms            bigint NOT NULL DEFAULT 0,
    le_5              bigint NOT NULL DEFAULT 0,
    le_10             bigint NOT NULL DEFAULT 0,
    le_25             bigint NOT NULL DEFAULT 0,
    le_50             bigint NOT NULL DEFAULT 0,
    le_75             bigint NOT NULL DEFAULT 0,
    le_100            bigint NOT NULL DEFAULT 0,
    le_250            bigint NOT NULL DEFAULT 0,
    le_500            bigint NOT NULL DEFAULT 0,
    le_750            bigint NOT NULL DEFAULT 0,
    le_1000           bigint NOT NULL DEFAULT 0,
    le_2500           bigint NOT NULL DEFAULT 0,
    le_5000           bigint NOT NULL DEFAULT 0,
    le_7500           bigint NOT NULL DEFAULT 0,
    le_10000          bigint NOT NULL DEFAULT 0,
    le_30000          bigint NOT NULL DEFAULT 0,
    bins              integer[] NOT NULL DEFAULT '{}',
    counts            integer[] NOT NULL DEFAULT '{}',
    connect_timed     bigint NOT NULL DEFAULT 0,
    connect_sum_ms    bigint NOT NULL DEFAULT 0,
    connect_max_ms    bigint NOT NULL DEFAULT 0,
    connect_bins      integer[] NOT NULL DEFAULT '{}',
    connect_counts    integer[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (app, t, process_type, outcome)
) PARTITION BY RANGE (t);
COMMENT ON TABLE dynometer.request_hours IS 'One row per app, hour, process type and outcome (ok, failed, maintenance). le_500: requests answered within 500 ms.';
COMMENT ON COLUMN dynometer.request_hours.timed IS 'requests with a service time: WebSockets have none';

CREATE TABLE dynometer.measurement_hours (
    app           text NOT NULL,
    t             timestamptz NOT NULL,
    metric        text NOT NULL,
    process_type  text NOT NULL,
    dyno          text NOT NULL,
    labels        jsonb NOT NULL DEFAULT '{}',
    samples       bigint NOT NULL DEFAULT 0,
    sum           numeric NOT NULL DEFAULT 0,
    min           numeric,
    max           numeric,
    last          numeric,
    bins          integer[],
    counts        integer[],
    PRIMARY KEY (app, t, metric, process_type, dyno, labels)
) PARTITION BY RANGE (t);
COMMENT ON TABLE dynometer.measurement_hours IS 'One row per app, hour, metric, dyno and labels, exactly and in the unit of the metric: gauges of dynos, samples of add-ons, custom and language metrics.';
COMMENT ON COLUMN dynometer.measurement_hours.bins IS 'the sketch of a custom measure: percentile_number(bins, counts, 0.95)';

CREATE TABLE dynometer.count_hours (
    app           text NOT NULL,
    t             timestamptz NOT NULL,
    metric        text NOT NULL,
    process_type  text NOT NULL,
    labels        jsonb NOT NULL DEFAULT '{}',
    value         bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (app, t, metric, process_type, labels)
) PARTITION BY RANGE (t);
COMMENT ON TABLE dynometer.count_hours IS 'One row per app, hour, metric, process type and labels: {"status": "200"}, {"code": "H12"}, …';

CREATE TABLE dynometer.dyno_hours (
    app             text NOT NULL,
    t               timestamptz NOT NULL,
    process_type    text NOT NULL,
    dyno_minutes    bigint NOT NULL DEFAULT 0,
    active_minutes  bigint NOT NULL DEFAULT 0,
    dynos_max       bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (app, t, process_type)
) PARTITION BY RANGE (t);
COMMENT ON TABLE dynometer.dyno_hours IS 'One row per app, hour and process type. dyno_minutes: minutes in which a dyno logged, added up over dynos. active_minutes: minutes in which any did.';

-- --- tables of days -------------------------------------------------------------------------------

CREATE TABLE dynometer.days (
    app         text NOT NULL,
    t           timestamptz NOT NULL,
    messages    bigint NOT NULL,
    store_id    uuid NOT NULL,
    written_at  timestamptz NOT NULL,
    rollup      bytea NOT NULL,
    by_hour     bytea NOT NULL,
    PRIMARY KEY (app, t)
) PARTITION BY RANGE (t);
COMMENT ON TABLE dynometer.days IS 'One row per app and day (UTC): the merge of its hours, and what only hours can hold (active minutes, events), hour by hour.';

CREATE TABLE dynometer.request_days (LIKE dynometer.request_hours INCLUDING ALL) PARTITION BY RANGE (t);
CREATE TABLE dynometer.measurement_days (LIKE dynometer.measurement_hours INCLUDING ALL) PARTITION BY RANGE (t);
CREATE TABLE dynometer.count_days (LIKE dynometer.count_hours INCLUDING ALL) PARTITION BY RANGE (t);
CREATE TABLE dynometer.dyno_days (LIKE dynometer.dyno_hours INCLUDING ALL) PARTITION BY RANGE (t);

CREATE TABLE dynometer.events (
    app     text NOT NULL,
    t       timestamptz NOT NULL,
    kind    text NOT NULL,
    source  text NOT NULL,
    detail  text NOT NULL,
    count   bigint NOT NULL,
    PRIMARY KEY (app, t, kind, source, detail)
) PARTITION BY RANGE (t);
COMMENT ON TABLE dynometer.events IS 'One row per event. source: the dyno; empty for the whole app.';

CREATE TABLE dynometer.episodes (
    app           text NOT NULL,
    t             timestamptz NOT NULL,
    until         timestamptz NOT NULL,
    kind          text NOT NULL,
    process_type  text NOT NULL,
    state         text NOT NULL,
    summary       text NOT NULL,
    finding       jsonb NOT NULL,
    PRIMARY KEY (app, t, kind, process_type)
) PARTITION BY RANGE (t);
COMMENT ON TABLE dynometer.episodes IS 'One row per finding of a verdict, from t until its end, in the words it was told in.';

-- Scans of all apps by time. Rows arrive in the order of time, so a block range index is enough.
CREATE INDEX ON dynometer.hours USING brin (t);
CREATE INDEX ON dynometer.request_hours USING brin (t);
CREATE INDEX ON dynometer.measurement_hours USING brin (t);
CREATE INDEX ON dynometer.count_hours USING brin (t);
CREATE INDEX ON dynometer.dyno_hours USING brin (t);
CREATE INDEX ON dynometer.days USING brin (t);
CREATE INDEX ON dynometer.request_days USING brin (t);
CREATE INDEX ON dynometer.measurement_days USING brin (t);
CREATE INDEX ON dynometer.count_days USING brin (t);
CREATE INDEX ON dynometer.dyno_days USING brin (t);
CREATE INDEX ON dynometer.events USING brin (t);
CREATE INDEX ON dynometer.episodes USING brin (t);

-- --- partitions -----------------------------------------------------------------------------------

CREATE TABLE dynometer.partitioned (
    parent  text PRIMARY KEY,
    period  text NOT NULL CHECK (period IN ('week', 'year'))
);
COMMENT ON TABLE dynometer.partitioned IS 'The partitioned tables, and how long their partitions are';
INSERT INTO dynometer.partitioned (parent, period) VALUES
    ('hours', 'week'), ('request_hours', 'week'), ('measurement_hours', 'week'),
    ('count_hours', 'week'), ('dyno_hours', 'week'),
    ('days', 'year'), ('request_days', 'year'), ('measurement_days', 'year'),
    ('count_days', 'year'), ('dyno_days', 'year'), ('events', 'year'), ('episodes', 'year');

-- The functions that need the owner's rights. Their callers need no more than EXECUTE.

CREATE FUNCTION dynometer.make_partitions(since timestamptz, until timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
-- Makes the missing partitions of [since, until]. A new table is attached instead of created as a
-- partition: attaching does not lock out readers of the parent.
DECLARE
    entry  record;
    at     timestamp;
    next   timestamp;
    child  text;
    made   integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(1685679727, 2);
    FOR entry IN SELECT parent, period FROM dynometer.partitioned ORDER BY parent LOOP
        at := date_trunc(entry.period, since AT TIME ZONE 'UTC');
        WHILE at <= until AT TIME ZONE 'UTC' LOOP
            next := at + ('1 ' || entry.period)::interval;
            child := entry.parent || '_' || to_char(at, 'YYYYMMDD');
            IF to_regclass(format('dynometer.%I', child)) IS NULL THEN
                EXECUTE format(
                    'CREATE TABLE dynometer.%I (LIKE dynometer.%I INCLUDING DEFAULTS INCLUDING STORAGE)',
                    child, entry.parent);
                EXECUTE format(
                    'ALTER TABLE dynometer.%I ATTACH PARTITION dynometer.%I FOR VALUES FROM (%L) TO (%L)',
                    entry.parent, child, at AT TIME ZONE 'UTC', next AT TIME ZONE 'UTC');
                made := made + 1;
            END IF;
            at := next;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;

CREATE FUNCTION dynometer.drop_partitions(
    dropped_period text, before timestamptz, count_max integer
) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
-- Drops partitions of this period that end at `before` or earlier, and returns their names. A month
-- at least is never dropped, so that no wrong setting or clock empties the archive. A transaction
-- holds a lock of each, so it should drop a few only: repeat the call until nothing is returned.
DECLARE
    child  text;
BEGIN
    IF before > now() - interval '30 days' THEN
        RAISE EXCEPTION 'the last 30 days are never dropped, and % is later', before;
    END IF;
    PERFORM pg_advisory_xact_lock(1685679727, 2);
    FOR child IN
        SELECT child_class.relname
        FROM dynometer.partitioned AS entry
        JOIN pg_inherits ON inhparent = format('dynometer.%I', entry.parent)::regclass
        JOIN pg_class AS child_class ON child_class.oid = inhrelid
        WHERE entry.period = dropped_period
          AND child_class.relname ~ ('^' || entry.parent || '_[0-9]{8}$')
          AND (to_date(right(child_class.relname, 8), 'YYYYMMDD')
               + ('1 ' || dropped_period)::interval) <= before AT TIME ZONE 'UTC'
        ORDER BY right(child_class.relname, 8), child_class.relname
        LIMIT count_max
    LOOP
        EXECUTE format('DROP TABLE dynometer.%I', child);
        RETURN NEXT child;
    END LOOP;
END $$;

CREATE FUNCTION dynometer.remove_app(removed_app text, parent_table text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
-- Deletes the rows of an app from one table, and returns their number. Waits for a write that is in
-- progress. One table at a time, because a transaction holds a lock of each partition.
DECLARE
    deleted  bigint;
BEGIN
    IF parent_table <> 'apps' THEN
        PERFORM FROM dynometer.partitioned WHERE parent = parent_table;
        IF NOT FOUND THEN
            RAISE EXCEPTION '% is not a table of the archive', parent_table;
        END IF;
    END IF;
    PERFORM pg_advisory_xact_lock(1685679727, 1);
    EXECUTE format('DELETE FROM dynometer.%I WHERE app = $1', parent_table) USING removed_app;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END $$;

REVOKE ALL ON FUNCTION dynometer.make_partitions, dynometer.drop_partitions, dynometer.remove_app
    FROM PUBLIC;

-- --- sketches -------------------------------------------------------------------------------------

CREATE FUNCTION dynometer.bin_lows_ms() RETURNS integer[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
-- The smallest whole number of milliseconds of each bin; bins count from 0. Never changes.
    SELECT ARRAY[
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
        27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51,
        52, 53, 54, 55, 56, 57, 58, 60, 61, 62, 63, 64, 66, 67, 68, 70, 71, 73, 74, 75, 76, 77, 78, 80, 82,
        83, 85, 87, 88, 90, 92, 94, 96, 97, 99, 101, 103, 105, 108, 110, 112, 114, 116, 119, 121, 123, 126,
        128, 131, 134, 136, 139, 142, 145, 147, 150, 153, 156, 160, 163, 166, 169, 173, 176, 180, 183, 187,
        191, 194, 198, 202, 206, 210, 215, 219, 223, 228, 232, 237, 242, 246, 251, 256, 262, 267, 272, 277,
        283, 289, 294, 300, 306, 312, 319, 325, 332, 338, 345, 352, 359, 366, 373, 381, 388, 396, 404, 412,
        420, 429, 437, 446, 455, 464, 473, 483, 492, 501, 502, 512, 522, 533, 544, 554, 566, 577, 588, 600,
        612, 624, 637, 650, 662, 676, 689, 703, 717, 731, 746, 751, 761, 776, 792, 807, 824, 840, 857, 874,
        891, 909, 927, 946, 965, 984, 1001, 1004, 1024, 1044, 1065, 1087, 1108, 1130, 1153, 1176, 1200,
        1224, 1248, 1273, 1298, 1324, 1351, 1378, 1405, 1434, 1462, 1491, 1521, 1552, 1583, 1614, 1647,
        1680, 1713, 1747, 1782, 1818, 1854, 1891, 1929, 1968, 2007, 2047, 2088, 2130, 2173, 2216, 2260,
        2305, 2352, 2399, 2447, 2495, 2501, 2545, 2596, 2648, 2701, 2755, 2810, 2866, 2924, 2982, 3042,
        3103, 3165, 3228, 3293, 3358, 3426, 3494, 3564, 3635, 3708, 3782, 3858, 3935, 4014, 4094, 4176,
        4259, 4344, 4431, 4520, 4610, 4702, 4796, 4892, 4990, 5001, 5090, 5192, 5296, 5402, 5510, 5620,
        5732, 5847, 5964, 6083, 6205, 6329, 6455, 6584, 6716, 6850, 6987, 7127, 7270, 7415, 7501, 7563,
        7714, 7869, 8026, 8187, 8350, 8517, 8688, 8861, 9039, 9219, 9404, 9592, 9784, 9979, 10001, 10179,
        10382, 10590, 10802, 11018, 11238, 11463, 11692, 11926, 12165, 12408, 12656, 12909, 13167, 13431,
        13699, 13973, 14253, 14538, 14829, 15125, 15428, 15736, 16051, 16372, 16699, 17033, 17374, 17721,
        18076, 18437, 18806, 19182, 19566, 19957, 20356, 20763, 21179, 21602, 22034, 22475, 22924, 23383,
        23850, 24327, 24814, 25310, 25816, 26333, 26859, 27397, 27945, 28503, 29073, 29655, 30001, 30248,
        30853, 31470, 32099, 32741, 33396, 34064, 34745, 35440, 36149, 36872, 37609, 38362, 39129, 39911,
        40710, 41524, 42354, 43201, 44065, 44947, 45846, 46763, 47698, 48652, 49625, 50617, 51630, 52662,
        53715, 54790, 55885, 57003, 58143, 59306, 60492, 61702, 62936, 64195, 65479, 66788, 68124, 69486,
        70876, 72294, 73739, 75214, 76719, 78253, 79818, 81414, 83043, 84703, 86397, 88125, 89888, 91686,
        93519, 95390, 97298, 99243, 101228, 103253, 105318, 107424, 109573, 111764, 113999, 116279, 118605,
        120977, 123397, 125865, 128382, 130950, 133568, 136240, 138965, 141744, 144579, 147470, 150420,
        153428, 156497, 159627, 162819, 166075, 169397, 172785, 176241, 179765, 183361, 187028, 190768,
        194584, 198475, 202445, 206494, 210624, 214836, 219133, 223516, 227986, 232546, 237196, 241940,
        246779, 251715, 256749, 261884, 267122, 272464, 277913, 283472, 289141, 294924, 300822, 306839,
        312976, 319235, 325620, 332132, 338775, 345550, 352461, 359510, 366701, 374035, 381515, 389146,
        396929, 404867, 412964, 421224, 429648, 438241, 447006, 455946, 465065, 474366, 483854, 493531,
        503401, 513469, 523739, 534213, 544898, 555796, 566912, 578250, 589815, 601611, 613643, 625916,
        638434, 651203, 664227, 677512, 691062, 704883, 718981, 733360, 748028, 762988, 778248, 793813,
        809689, 825883, 842400, 859248, 876433, 893962, 911841, 930078, 948680, 967653, 987006, 1006746,
        1026881, 1047419, 1068367, 1089735, 1111529, 1133760, 1156435, 1179564, 1203155, 1227218, 1251763,
        1276798, 1302334, 1328380, 1354948, 1382047, 1409688, 1437882, 1466639, 1495972, 1525891, 1556409,
        1587537, 1619288, 1651674, 1684707, 1718402, 1752770, 1787825, 1823581, 1860053, 1897254, 1935199,
        1973903, 2013381, 2053649, 2094722, 2136616, 2179349, 2222935, 2267394, 2312742, 2358997, 2406177,
        2454300, 2503386, 2553454, 2604523, 2656614, 2709746, 2763941, 2819220, 2875604, 2933116, 2991778,
        3051614, 3112646, 3174899, 3238397, 3303165, 3369228, 3436613, 3505345, 3575452, 3646961, 3719900,
        3794298, 3870184, 3947588, 4026540, 4107070, 4189212, 4272996, 4358456, 4445625, 4534537, 4625228,
        4717733, 4812087, 4908329, 5006496, 5106626, 5208758, 5312933, 5419192, 5527576, 5638127, 5750890,
        5865908, 5983226
    ];
$$;

CREATE FUNCTION dynometer.percentile_ms(
    bins integer[], counts bigint[], quantile double precision, max_ms bigint DEFAULT NULL
) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
-- The quantile (0 to 1) by nearest rank, at most 1 % off and exact below 50 ms; NULL without values.
-- bins ascend, as the tables have them. No result exceeds max_ms, the largest value, if it is given.
DECLARE
    lows      integer[] := dynometer.bin_lows_ms();
    total     bigint := 0;
    position  bigint;
    reached   bigint := 0;
    counted   bigint;
    place     integer := 1;
    high      integer;
BEGIN
    FOREACH counted IN ARRAY coalesce(counts, '{}') LOOP
        total := total + counted;
    END LOOP;
    IF total = 0 THEN
        RETURN NULL;
    END IF;
    position := least(greatest(ceil(round((quantile * total)::numeric, 6)), 1), total);
    LOOP
        reached := reached + counts[place];
        EXIT WHEN reached >= position;
        place := place + 1;
    END LOOP;
    high := coalesce(lows[bins[place] + 2] - 1, 6000000);
    RETURN least((lows[bins[place] + 1] + high) / 2.0::double precision, max_ms);
END $$;
COMMENT ON FUNCTION dynometer.percentile_ms(integer[], bigint[], double precision, bigint) IS
    'A percentile of a sketch: percentile_ms(bins, counts, 0.95, max_ms)';

CREATE TYPE dynometer.sketch AS (bins integer[], counts bigint[]);

CREATE FUNCTION dynometer.add_to_sketch(state bigint[], bins integer[], counts bigint[])
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
-- state[bin] is the count of a bin, so that counts add up in place.
DECLARE
    place integer;
BEGIN
    FOR place IN 1 .. coalesce(cardinality(bins), 0) LOOP
        state[bins[place]] := coalesce(state[bins[place]], 0) + counts[place];
    END LOOP;
    RETURN state;
END $$;

CREATE FUNCTION dynometer.combine_sketches(state bigint[], other bigint[]) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    bin integer;
BEGIN
    FOR bin IN coalesce(array_lower(other, 1), 1) .. coalesce(array_upper(other, 1), 0) LOOP
        IF other[bin] IS NOT NULL THEN
            state[bin] := coalesce(state[bin], 0) + other[bin];
        END IF;
    END LOOP;
    RETURN state;
END $$;

CREATE FUNCTION dynometer.finish_sketch(state bigint[]) RETURNS dynometer.sketch
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ROW(
        coalesce(array_agg(bin ORDER BY bin), '{}'), coalesce(array_agg(state[bin] ORDER BY bin), '{}')
    )::dynometer.sketch
    FROM generate_subscripts(state, 1) AS bin WHERE state[bin] > 0;
$$;

CREATE AGGREGATE dynometer.merge_sketches(bins integer[], counts bigint[]) (
    SFUNC = dynometer.add_to_sketch,
    STYPE = bigint[],
    INITCOND = '{}',
    COMBINEFUNC = dynometer.combine_sketches,
    FINALFUNC = dynometer.finish_sketch,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE dynometer.merge_sketches(integer[], bigint[]) IS
    'Merges sketches: percentile_ms(merge_sketches(bins, counts), 0.95)';

CREATE FUNCTION dynometer.percentile_ms(
    merged dynometer.sketch, quantile double precision, max_ms bigint DEFAULT NULL
) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT dynometer.percentile_ms(merged.bins, merged.counts, quantile, max_ms);
$$;

CREATE FUNCTION dynometer.percentile_number(
    bins integer[], counts bigint[], quantile double precision
) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
-- The same for sketches of any numbers, as custom measures have them: at most 1 % off. Bin 32768 is
-- 0; the bin at a distance d from it ends at 1.02 ^ (d - 16384), with the sign of d.
DECLARE
    total     bigint := 0;
    position  bigint;
    reached   bigint := 0;
    counted   bigint;
    place     integer := 1;
    distance  integer;
BEGIN
    FOREACH counted IN ARRAY coalesce(counts, '{}') LOOP
        total := total + counted;
    END LOOP;
    IF total = 0 THEN
        RETURN NULL;
    END IF;
    position := least(greatest(ceil(round((quantile * total)::numeric, 6)), 1), total);
    LOOP
        reached := reached + counts[place];
        EXIT WHEN reached >= position;
        place := place + 1;
    END LOOP;
    distance := bins[place] - 32768;
    RETURN sign(distance) * 1.02::double precision ^ (abs(distance) - 16384)
        * (2 / 2.02::double precision);
END $$;

CREATE FUNCTION dynometer.percentile_number(
    merged dynometer.sketch, quantile double precision
) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT dynometer.percentile_number(merged.bins, merged.counts, quantile);
$$;
