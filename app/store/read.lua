-- Read lists at one instant.
-- KEYS  lists
-- Returns the position (from 1) and the elements of each list that is not empty.
local found = {}
for i = 1, #KEYS do
  local elements = redis.call('LRANGE', KEYS[i], 0, -1)
  if #elements > 0 then
    found[#found + 1] = i
    found[#found + 1] = elements
  end
end
return found
