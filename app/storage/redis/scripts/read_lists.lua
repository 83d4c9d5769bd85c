-- Read lists at one instant.
-- KEYS  lists
-- ARGV  versions of the first lists that the reader has cached (optional): for each list one byte
--       with its number of elements, then their headers
-- Returns for each list that is not empty its position (from 1) and its elements; 0 instead of the
-- elements if the reader has them. Equal headers prove equal elements.
local HEADER = 9
local versions = ARGV[1] or ''
local offset = 1

local function is_cached(elements, headers)
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

local lists = {}
for i = 1, #KEYS do
  local header_bytes = HEADER * (string.byte(versions, offset) or 0)
  local headers = string.sub(versions, offset + 1, offset + header_bytes)
  offset = offset + 1 + header_bytes
  local elements = redis.call('LRANGE', KEYS[i], 0, -1)
  if #elements > 0 then
    lists[#lists + 1] = i
    lists[#lists + 1] = is_cached(elements, headers) and 0 or elements
  end
end
return lists
