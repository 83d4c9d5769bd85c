-- Read hashes at one instant.
-- KEYS  hashes
-- Returns for each its fields and values, as HGETALL does.
local found = {}
for i = 1, #KEYS do found[i] = redis.call('HGETALL', KEYS[i]) end
return found
