-- Replaces a field of a hash, if it still holds what was read. "" stands for a field that is not there.
--
-- KEYS  the hash
-- ARGV  field, before, after
-- Returns 1; 0 when the field holds something else, and then nothing was changed.
local held = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if held ~= ARGV[2] then
  return 0
end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 1
