-- Write records of the alerts, all or nothing.
-- KEYS  the lease, then a key per change: a hash of records, or a list of history
-- ARGV  the lease's token ('' = whoever writes needs none), entries that a history keeps, then per
--       change: 'record' or 'history', field, value ('' removes a record), ttl_ms (0 = for ever)
-- Returns 1; 0 when the lease is not held with this token: then nothing is changed.
-- Removals come last, and nothing is asked of what they may have emptied: see compact.lua.
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
-- Redis undoes nothing: a key of another type must end the script before the first write.
for i = 2, #KEYS do
  if ARGV[4 * i - 5] == 'record' then redis.call('HLEN', KEYS[i]) else redis.call('LLEN', KEYS[i]) end
end
for i = 2, #KEYS do
  local kind, field, value, ttl = ARGV[4 * i - 5], ARGV[4 * i - 4], ARGV[4 * i - 3], ARGV[4 * i - 2]
  if kind == 'history' then
    redis.call('LPUSH', KEYS[i], value)
    redis.call('LTRIM', KEYS[i], 0, ARGV[2] - 1)
  elseif value ~= '' then
    redis.call('HSET', KEYS[i], field, value)
  end
  if ttl ~= '0' then redis.call('PEXPIRE', KEYS[i], ttl) end
end
for i = 2, #KEYS do
  if ARGV[4 * i - 5] == 'record' and ARGV[4 * i - 3] == '' then
    redis.call('HDEL', KEYS[i], ARGV[4 * i - 4])
  end
end
return 1
