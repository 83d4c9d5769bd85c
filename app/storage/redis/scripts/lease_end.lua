-- Let go of a lease, if it is ours.
-- KEYS  the lease
-- ARGV  our token
-- Returns 1; 0 when it is not.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1
