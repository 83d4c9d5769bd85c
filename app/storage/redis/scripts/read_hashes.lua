-- Read hashes at one instant.
-- KEYS  hashes
-- Returns for each its fields and values, as HGETALL does.
local hashes = {}
for i = 1, #KEYS do hashes[i] = redis.call('HGETALL', KEYS[i]) end
return hashes
