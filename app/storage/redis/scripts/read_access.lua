-- Read who may send and read, and from which store that is, at one instant.
-- KEYS  the identity, then hashes: drain records, read tokens, notes about access
-- ARGV  the id to write if the store has none (identify.lua)
-- Returns the identity, then the fields and values of each hash.
local identity = identify(KEYS[1], ARGV[1])
return {
  identity,
  redis.call('HGETALL', KEYS[2]),
  redis.call('HGETALL', KEYS[3]),
  redis.call('HGETALL', KEYS[4]),
}
