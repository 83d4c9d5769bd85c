-- Read lists at one instant.
-- KEYS  lists
-- Returns the elements of each list.
local lists = {}
for i = 1, #KEYS do
  lists[i] = redis.call('LRANGE', KEYS[i], 0, -1)
end
return lists
