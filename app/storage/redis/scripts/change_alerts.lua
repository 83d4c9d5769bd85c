-- Write records, and add entries to histories and episodes, all or nothing.
-- KEYS  the lease, then a key per change: a hash of records, or a list of entries
-- ARGV  the token that must hold the lease ('' = none is needed), then per change:
--       'record', field, value ('' removes a record), ttl_ms (0 = no expiry), or
--       'entry', length limit of the list, value, ttl_ms
-- Returns 1; 0 if the lease is not held with this token: then nothing is changed.
-- Removals come last, and no command follows on keys that they may have emptied: compact.lua
-- explains why.
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
-- Redis does not roll back: a key of the wrong type must end the script before the first write.
for i = 2, #KEYS do
  if ARGV[4 * i - 6] == 'record' then redis.call('HLEN', KEYS[i]) else redis.call('LLEN', KEYS[i]) end
end
for i = 2, #KEYS do
  local kind, field, value, ttl = ARGV[4 * i - 6], ARGV[4 * i - 5], ARGV[4 * i - 4], ARGV[4 * i - 3]
  if kind == 'entry' then
    redis.call('LPUSH', KEYS[i], value)
    redis.call('LTRIM', KEYS[i], 0, field - 1)
  elseif value ~= '' then
    redis.call('HSET', KEYS[i], field, value)
  end
  if ttl ~= '0' then redis.call('PEXPIRE', KEYS[i], ttl) end
end
for i = 2, #KEYS do
  if ARGV[4 * i - 6] == 'record' and ARGV[4 * i - 4] == '' then
    redis.call('HDEL', KEYS[i], ARGV[4 * i - 5])
  end
end
return 1
