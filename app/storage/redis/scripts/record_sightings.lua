-- Record when apps were seen, and the origin of their lines.
-- KEYS  first_seen, last_seen, runtime_metrics (sorted sets), origins (hash)
-- ARGV  ttl_ms, then per app: name, first_seen_s, last_seen_s, runtime_metrics_s (0 = never), origin
--       ('' = a drain)
-- An app without an entry in origins has a drain, also if an older version recorded it. So only an
-- unknown app gets an entry, and the first line of a drain removes it.
local first_seen, last_seen, runtime_metrics, origins = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
for arg = 2, #ARGV, 5 do
  local app, origin = ARGV[arg], ARGV[arg + 4]
  if origin == '' then
    redis.call('HDEL', origins, app)
  elseif not redis.call('ZSCORE', last_seen, app) or redis.call('HEXISTS', origins, app) == 1 then
    redis.call('HSET', origins, app, origin)
  end
  redis.call('ZADD', first_seen, 'LT', ARGV[arg + 1], app)
  redis.call('ZADD', last_seen, 'GT', ARGV[arg + 2], app)
  if ARGV[arg + 3] ~= '0' then redis.call('ZADD', runtime_metrics, 'GT', ARGV[arg + 3], app) end
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[1]) end
return 0
