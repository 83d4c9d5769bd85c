-- Count how many of the first lists fit into memory together, without reading them.
-- KEYS  lists, at least one
-- ARGV  bytes_max: no list is counted once those before take as many bytes
-- Returns the number of lists, at least 1.
local bytes_max, bytes = tonumber(ARGV[1]), 0
for i = 1, #KEYS do
  bytes = bytes + (redis.call('MEMORY', 'USAGE', KEYS[i], 'SAMPLES', '0') or 0)
  if bytes >= bytes_max then return i end
end
return #KEYS
