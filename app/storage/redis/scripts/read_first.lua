-- Read the first elements of a list.
-- KEYS  the list
-- ARGV  the greatest number of elements; the number of bytes after which no more are read
-- Returns the elements.
local elements = redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)
local bytes_max = tonumber(ARGV[2])
local first, bytes = {}, 0
for i, element in ipairs(elements) do
  if bytes >= bytes_max then break end
  first[i] = element
  bytes = bytes + #element
end
return first
