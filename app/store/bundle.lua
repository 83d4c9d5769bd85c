-- Append bundles, each several batches as one element, to the inboxes of their apps, of one app after
-- the other: if none of a bundle's ids is known, and if its app is guarded, while its state is as
-- expected.
-- KEYS  of each app: inbox, state, id_1 … id_k, all different
-- ARGV  id_ttl_ms, inbox_ttl_ms; of each app: how many states follow, these, element, and the k
--       tokens of 8 bytes as one; states are: none, when it is not guarded; the expected one, when
--       that stays; the expected and the new one
-- Returns of each app its inbox's length; 0, or a refusal, when nothing of it was changed.
-- An element is pushed before its ids are recorded: should the push fail, they must not be taken.
-- The inbox's TTL is prolonged, and never shortened, when the state changes, which it does each
-- minute; without a guard each time. A list of one element is new and has none.
local id_ttl, inbox_ttl = ARGV[1], ARGV[2]

local function append(key, k, states, expected, new, element, tokens)
  local held = redis.call('MGET', unpack(KEYS, key + 1, key + 1 + k))
  if states > 0 and (held[1] or '') ~= expected then return 0 end
  for i = 2, k + 1 do
    if held[i] then return 0 end
  end
  local length = redis.pcall('RPUSH', KEYS[key], element)
  if type(length) == 'table' then return length end
  for i = 1, k do
    redis.call('SET', KEYS[key + 1 + i], string.sub(tokens, 8 * i - 7, 8 * i), 'PX', id_ttl)
  end
  if states == 2 then redis.call('SET', KEYS[key + 1], new, 'PX', inbox_ttl) end
  if length == 1 or states ~= 1 and redis.call('PTTL', KEYS[key]) < tonumber(inbox_ttl) then
    redis.call('PEXPIRE', KEYS[key], inbox_ttl)
  end
  return length
end

local lengths, key, at = {}, 1, 3
while at <= #ARGV do
  local states = tonumber(ARGV[at])
  local behind = at + 1 + states
  local element, tokens = ARGV[behind], ARGV[behind + 1]
  local k = #tokens / 8
  lengths[#lengths + 1] = append(key, k, states, ARGV[at + 1], ARGV[at + 2], element, tokens)
  key, at = key + 2 + k, behind + 2
end
return lengths
