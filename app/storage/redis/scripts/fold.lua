-- Fold several apps: remove the oldest elements of each inbox and append elements to slots. Each
-- app is handled separately, all or nothing.
-- KEYS  per app: inbox, slot_1 … slot_s (a slot may occur more than once)
-- ARGV  per app: n, the header of the last of the n elements that were read, s, then per slot:
--       ttl_ms, element
-- Returns per app the lengths of its slots; false if the inbox no longer starts with those
-- elements, or an error: then nothing of the app is changed.
-- The header of the n-th element proves all n: app/storage/interface/elements.py says why.
-- If appending to a slot fails, the elements pushed before are popped: Redis does not roll back.
-- TTLs are never shortened, and extended at most once a minute.
local function push(key, slot_count, arg)
  local lengths = {}
  for i = 1, slot_count do
    local length = redis.pcall('RPUSH', KEYS[key + i], ARGV[arg + 2 + 2 * i])
    if type(length) == 'table' then
      for slot = i - 1, 1, -1 do redis.call('RPOP', KEYS[key + slot]) end
      return nil, length
    end
    lengths[i] = length
  end
  return lengths
end

local function fold(key, arg)
  local n, slot_count = tonumber(ARGV[arg]), tonumber(ARGV[arg + 2])
  local last = n > 0 and redis.call('LINDEX', KEYS[key], n - 1)
  if n > 0 and string.sub(last or '', 1, 9) ~= ARGV[arg + 1] then return false end
  local lengths, push_error = push(key, slot_count, arg)
  if not lengths then return push_error end
  redis.call('LTRIM', KEYS[key], n, -1)
  for i = 1, slot_count do
    local slot, ttl = KEYS[key + i], ARGV[arg + 1 + 2 * i]
    if lengths[i] == 1 or redis.call('PTTL', slot) < ttl - 60000 then
      redis.call('PEXPIRE', slot, ttl)
    end
  end
  return lengths
end

-- This write changes nothing. But Redis lets a script that has written continue although it is
-- full, and folding must continue then, because it frees memory.
redis.call('LTRIM', KEYS[1], 0, -1)

local answers, key, arg = {}, 1, 1
while arg <= #ARGV do
  local slot_count = ARGV[arg + 2]
  answers[#answers + 1] = fold(key, arg)
  key, arg = key + 1 + slot_count, arg + 3 + 2 * slot_count
end
return answers
