-- Return the identity of the store. If there is none, write one first.
-- KEYS  the identity
-- ARGV  the id to write: 32 hex digits
-- Returns the id and the time of first use in Unix seconds, separated by a space.
-- The time is the server's, so that it does not depend on which worker comes first. There is no
-- TTL: an identity that expired would make the store look emptied.
local identity = redis.call('GET', KEYS[1])
if not identity then
  identity = ARGV[1] .. ' ' .. redis.call('TIME')[1]
  redis.call('SET', KEYS[1], identity)
end
return identity
