-- Read hashes at one instant.
-- KEYS  hashes
-- Returns the fields and values of each.
local found = {}
for i = 1, #KEYS do found[i] = redis.call('HGETALL', KEYS[i]) end
return found
