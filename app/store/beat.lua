-- Leave a sign of life, replacing the last one.
-- KEYS  the sign, the names of all that gave one
-- ARGV  its name, ttl_ms of the sign, ttl_ms of the names, then its fields and their values
redis.call('DEL', KEYS[1])
for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
