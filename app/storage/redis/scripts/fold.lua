-- Fold several apps: remove the oldest elements of each inbox and append elements to slots. Each
-- app is handled separately, all or nothing.
-- KEYS  per app: inbox, slot_1 … slot_s (a slot may occur more than once), and with h > 0: the
--       changed hours
-- ARGV  per app: n, the header of the last of the n elements that were read, s, h; then per slot:
--       ttl_ms, element; then with h > 0: ttl_ms, and the starts of h hours to note as changed
-- Returns per app the lengths of its slots; false if the inbox no longer starts with those
-- elements, or an error: then nothing of the app is changed.
-- The header of the n-th element proves all n: app/storage/interface/elements.py says why.
-- If appending to a slot fails, the elements pushed before are popped: Redis does not roll back.
-- Hours are noted before anything is pushed. A note too many does no harm, one too few would. Its
-- value is the header, which no other fold has.
-- TTLs are never shortened, and extended at most once a minute.
local function push(key, slot_count, arg)
  local lengths = {}
  for i = 1, slot_count do
    local length = redis.pcall('RPUSH', KEYS[key + i], ARGV[arg + 3 + 2 * i])
    if type(length) == 'table' then
      for slot = i - 1, 1, -1 do redis.call('RPOP', KEYS[key + slot]) end
      return nil, length
    end
    lengths[i] = length
  end
  return lengths
end

local function note(changed, header, hour_count, arg)
  for i = 1, hour_count do
    local answer = redis.pcall('HSET', changed, ARGV[arg + i], header)
    if type(answer) == 'table' then return answer end
  end
  if redis.call('PTTL', changed) < ARGV[arg] - 60000 then
    redis.call('PEXPIRE', changed, ARGV[arg])
  end
end

local function fold(key, arg)
  local n, slot_count, hour_count = tonumber(ARGV[arg]), tonumber(ARGV[arg + 2]), tonumber(ARGV[arg + 3])
  local last = n > 0 and redis.call('LINDEX', KEYS[key], n - 1)
  if n > 0 and string.sub(last or '', 1, 9) ~= ARGV[arg + 1] then return false end
  if hour_count > 0 then
    local note_error = note(KEYS[key + 1 + slot_count], ARGV[arg + 1], hour_count, arg + 4 + 2 * slot_count)
    if note_error then return note_error end
  end
  local lengths, push_error = push(key, slot_count, arg)
  if not lengths then return push_error end
  redis.call('LTRIM', KEYS[key], n, -1)
  for i = 1, slot_count do
    local slot, ttl = KEYS[key + i], ARGV[arg + 2 + 2 * i]
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
  local slot_count, hour_count = ARGV[arg + 2], tonumber(ARGV[arg + 3])
  answers[#answers + 1] = fold(key, arg)
  key, arg = key + 1 + slot_count, arg + 4 + 2 * slot_count
  if hour_count > 0 then key, arg = key + 1, arg + 1 + hour_count end
end
return answers
