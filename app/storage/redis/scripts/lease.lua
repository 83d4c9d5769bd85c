-- Take a lease, or keep one that is ours.
-- KEYS  the lease
-- ARGV  our token, ttl_ms
-- Returns 1; 0 when somebody else holds it.
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
