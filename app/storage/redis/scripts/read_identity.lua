-- Return the identity of the store (identify.lua).
-- KEYS  the identity
-- ARGV  the id to write if there is none
return identify(KEYS[1], ARGV[1])
