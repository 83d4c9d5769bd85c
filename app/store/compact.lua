-- Replace the first n elements of a slot by their merge; readers cannot tell.
-- KEYS  slot
-- ARGV  n, the headers (9 bytes each) of the n elements that were merged, the merge, ttl_ms
-- Returns 1; 0 when the slot no longer begins with those elements: then nothing is changed.
-- Trimming comes first: it frees memory. It deletes a list that it empties, and its TTL with it, so
-- the TTL is taken down before. A TTL is never shortened.
local n = tonumber(ARGV[1])
local found = n > 0 and redis.call('LRANGE', KEYS[1], 0, n - 1) or {}
for i = 1, #found do found[i] = string.sub(found[i], 1, 9) end
if table.concat(found) ~= ARGV[2] then return 0 end
local ttl = math.max(redis.call('PTTL', KEYS[1]), tonumber(ARGV[4]))
redis.call('LTRIM', KEYS[1], n, -1)
redis.call('LPUSH', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ttl))
return 1
