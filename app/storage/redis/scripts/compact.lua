-- Replace the first n elements of a slot by their merge; readers cannot tell.
-- KEYS  slot
-- ARGV  n, the header of the last of the n elements that were merged, the merge, ttl_ms
-- Returns 1; 0 when the slot no longer begins with those elements: then nothing is changed.
-- That the last is still the n-th proves it of all: see app/storage/interface.py.
-- Trimming comes first: it frees memory. One element stays, to be replaced: a list that was emptied
-- would be gone, with its TTL, and a cluster that is about to move it would not let us make it anew.
-- A TTL is never shortened.
local n = tonumber(ARGV[1])
local last = n > 0 and redis.call('LINDEX', KEYS[1], n - 1) or ''
if n == 0 or string.sub(last, 1, 9) ~= ARGV[2] then return 0 end
redis.call('LTRIM', KEYS[1], n - 1, -1)
redis.call('LSET', KEYS[1], 0, ARGV[3])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return 1
