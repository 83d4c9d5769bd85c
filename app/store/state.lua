-- Replace an app's state, if it is still what was read.
-- KEYS  the state
-- ARGV  before ('' = there is none), after, ttl_ms
-- Returns 1; 0 when it is another one: then nothing is changed.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
