-- Replace the value of a hash field if it still has the value that was read.
-- KEYS  the hash
-- ARGV  field, old value ('' = the field does not exist), new value ('' = remove the field)
-- Returns 1; 0 if the field has another value: then nothing is changed.
local value = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if value ~= ARGV[2] then
  return 0
end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 1
