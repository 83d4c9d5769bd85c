-- Write a status record, replacing all fields of the last one of its name.
-- KEYS  the record, the set of names of records
-- ARGV  its name, ttl_ms of the record, ttl_ms of the names, then its fields and their values
-- New fields are written before old ones are removed, so that the hash is never empty: compact.lua
-- explains why.
local is_written = {}
for i = 4, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  is_written[ARGV[i]] = true
end
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if not is_written[field] then redis.call('HDEL', KEYS[1], field) end
end
if #ARGV > 3 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
