-- Release a lease if this token holds it.
-- KEYS  the lease
-- ARGV  token
-- Returns 1; 0 if the token does not hold it.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1
