-- Replace the first n elements of a slot by their merge. For readers nothing changes.
-- KEYS  slot
-- ARGV  n, the header of the last of the n merged elements, the merge, ttl_ms
-- Returns 1; 0 if the slot no longer starts with those elements: then nothing is changed.
-- The header of the n-th element proves all n: app/storage/interface/elements.py says why.
-- Trimming comes first because it frees memory, which a full Redis allows. One element stays and is
-- then replaced: an emptied list would be deleted with its TTL, and while a cluster moves the hash
-- slot, a deleted key cannot be created again.
-- The TTL is never shortened.
local n = tonumber(ARGV[1])
local last = n > 0 and redis.call('LINDEX', KEYS[1], n - 1) or ''
if n == 0 or string.sub(last, 1, 9) ~= ARGV[2] then return 0 end
redis.call('LTRIM', KEYS[1], n - 1, -1)
redis.call('LSET', KEYS[1], 0, ARGV[3])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return 1
