-- Take the first n elements off the inbox and add elements to slots, all or nothing.
-- KEYS  inbox, slot_1 … slot_s (a slot may occur more than once)
-- ARGV  n, the headers (9 bytes each) of the n elements that were read, then per slot:
--       ttl_ms, element
-- Returns the length of each slot; false when the inbox no longer begins with those elements: then
-- nothing is changed.
-- All n headers are compared: a list whose head was taken and refilled can begin alike. Trimming
-- comes first, because it frees memory: so folding goes on when Redis is full. A TTL is never
-- shortened, and prolonged once a minute.
local n = tonumber(ARGV[1])
local found = n > 0 and redis.call('LRANGE', KEYS[1], 0, n - 1) or {}
for i = 1, #found do found[i] = string.sub(found[i], 1, 9) end
if table.concat(found) ~= ARGV[2] then return false end
-- Redis undoes nothing: a key that is no list must end the script before the first write.
for i = 2, #KEYS do redis.call('LLEN', KEYS[i]) end
redis.call('LTRIM', KEYS[1], n, -1)
local lengths = {}
for i = 2, #KEYS do
  local length, ttl = redis.call('RPUSH', KEYS[i], ARGV[2 * i]), ARGV[2 * i - 1]
  if length == 1 or redis.call('PTTL', KEYS[i]) < ttl - 60000 then
    redis.call('PEXPIRE', KEYS[i], ttl)
  end
  lengths[#lengths + 1] = length
end
return lengths
