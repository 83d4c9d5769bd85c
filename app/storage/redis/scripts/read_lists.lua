-- Read lists at one instant.
-- KEYS  lists
-- ARGV  versions of the first lists that the reader has cached (optional): for each list one byte
--       with its number of elements, then their headers
--       bytes_max (optional): once the lists read have so many bytes, the others are left out,
--       except the last one
-- Returns for each list that is not empty its position (from 1) and its elements; 0 instead of the
-- elements if the reader has them. Equal headers prove equal elements. With bytes_max, also the
-- number of the lists read, without the last one.
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

local bytes_max = tonumber(ARGV[2])
local lists, bytes, count = {}, 0, 0

local function read(i, headers)
  local elements = redis.call('LRANGE', KEYS[i], 0, -1)
  for _, element in ipairs(bytes_max and elements or {}) do bytes = bytes + #element end
  if #elements > 0 then
    lists[#lists + 1] = i
    lists[#lists + 1] = is_cached(elements, headers) and 0 or elements
  end
end

for i = 1, #KEYS do
  if bytes_max and (i == #KEYS or bytes >= bytes_max and i > 1) then break end
  local header_bytes = HEADER * (string.byte(versions, offset) or 0)
  local headers = string.sub(versions, offset + 1, offset + header_bytes)
  offset = offset + 1 + header_bytes
  read(i, headers)
  count = i
end
if bytes_max then
  read(#KEYS, '')
  lists[#lists + 1] = count
end
return lists
