-- Take elements off the head of inboxes and add elements to slots, of one app after the other, and of
-- each all or nothing.
-- KEYS  of each app: inbox, slot_1 … slot_s (a slot may occur more than once)
-- ARGV  of each app: n, the header of the last of the n elements that were read, s, then per slot:
--       ttl_ms, element
-- Returns of each app the lengths of its slots; false when the inbox no longer begins with those
-- elements, or a refusal: then nothing is changed.
-- That the last is still the n-th proves it of all (app/storage/interface.py says why), and the others need
-- not be looked at. What was pushed is popped when a later slot refuses: Redis undoes nothing itself.
-- A TTL is never shortened, and prolonged once a minute.
local function push(key, slots, at)
  local lengths = {}
  for i = 1, slots do
    local length = redis.pcall('RPUSH', KEYS[key + i], ARGV[at + 2 + 2 * i])
    if type(length) == 'table' then
      for pushed = i - 1, 1, -1 do redis.call('RPOP', KEYS[key + pushed]) end
      return nil, length
    end
    lengths[i] = length
  end
  return lengths
end

local function fold(key, at)
  local n, slots = tonumber(ARGV[at]), tonumber(ARGV[at + 2])
  local last = n > 0 and redis.call('LINDEX', KEYS[key], n - 1)
  if n > 0 and string.sub(last or '', 1, 9) ~= ARGV[at + 1] then return false end
  local lengths, refusal = push(key, slots, at)
  if not lengths then return refusal end
  redis.call('LTRIM', KEYS[key], n, -1)
  for i = 1, slots do
    local slot, ttl = KEYS[key + i], ARGV[at + 1 + 2 * i]
    if lengths[i] == 1 or redis.call('PTTL', slot) < ttl - 60000 then
      redis.call('PEXPIRE', slot, ttl)
    end
  end
  return lengths
end

-- Changes nothing; but a script that has begun to write may go on when Redis is full, and so must this
-- one, which frees memory.
redis.call('LTRIM', KEYS[1], 0, -1)

local answers, key, at = {}, 1, 1
while at <= #ARGV do
  local slots = ARGV[at + 2]
  answers[#answers + 1] = fold(key, at)
  key, at = key + 1 + slots, at + 3 + 2 * slots
end
return answers
