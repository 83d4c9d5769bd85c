-- Acquire a lease, or extend it if this token holds it.
-- KEYS  the lease
-- ARGV  token, ttl_ms
-- Returns 1; 0 if another token holds it.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
