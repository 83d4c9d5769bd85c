-- Take elements off the head of inboxes and add elements to slots, of one app after the other, and of
-- each all or nothing.
-- KEYS  of each app: inbox, slot_1 … slot_s (a slot may occur more than once)
-- ARGV  of each app: n, the header of the last of the n elements that were read, s, then per slot:
--       ttl_ms, element
-- Returns of each app the lengths of its slots; false when the inbox no longer begins with those
-- elements, or a refusal: then nothing is changed.
-- That the last is still the n-th proves it of all (app/store/port.py says why), and the others need
-- not be looked at. Trimming comes first, because it frees memory: so folding goes on when Redis is
-- full. A TTL is never shortened, and prolonged once a minute.
local function fold(key, at)
  local n, slots = tonumber(ARGV[at]), tonumber(ARGV[at + 2])
  local last = n > 0 and redis.call('LINDEX', KEYS[key], n - 1)
  if n > 0 and string.sub(last or '', 1, 9) ~= ARGV[at + 1] then return false end
  -- Redis undoes nothing: a key that is no list must be found before the first write.
  for i = key + 1, key + slots do
    local length = redis.pcall('LLEN', KEYS[i])
    if type(length) == 'table' then return length end
  end
  redis.call('LTRIM', KEYS[key], n, -1)
  local lengths = {}
  for i = 1, slots do
    local slot, ttl = KEYS[key + i], ARGV[at + 1 + 2 * i]
    local length = redis.call('RPUSH', slot, ARGV[at + 2 + 2 * i])
    if length == 1 or redis.call('PTTL', slot) < ttl - 60000 then
      redis.call('PEXPIRE', slot, ttl)
    end
    lengths[i] = length
  end
  return lengths
end

local answers, key, at = {}, 1, 1
while at <= #ARGV do
  local slots = ARGV[at + 2]
  answers[#answers + 1] = fold(key, at)
  key, at = key + 1 + slots, at + 3 + 2 * slots
end
return answers
