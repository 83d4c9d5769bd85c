-- Read lists at one instant.
-- KEYS  lists
-- ARGV  for each the headers (9 bytes) of the elements that are known of it, or nothing; or no ARGV
-- Returns the position (from 1) and the elements of each list that is not empty; 0 instead of
-- elements that are known.
local HEADER = 9

local function known(elements, headers)
  if #headers ~= HEADER * #elements then
    return false
  end
  for i, element in ipairs(elements) do
    if string.sub(element, 1, HEADER) ~= string.sub(headers, HEADER * i - HEADER + 1, HEADER * i) then
      return false
    end
  end
  return true
end

local found = {}
for i = 1, #KEYS do
  local elements = redis.call('LRANGE', KEYS[i], 0, -1)
  if #elements > 0 then
    found[#found + 1] = i
    found[#found + 1] = ARGV[i] and known(elements, ARGV[i]) and 0 or elements
  end
end
return found
