-- Append bundles, each several batches as one element, to the inboxes of their apps, of one app after
-- the other: if none of a bundle's ids is known, and if its app is guarded, while its state is as
-- expected.
-- KEYS  of each app: inbox, state, id_1 … id_k, all different
-- ARGV  id_ttl_ms, inbox_ttl_ms; of each app: k, guarded (0 or 1), expected state, new state ('' =
--       unchanged), element, token_1 … token_k
-- Returns of each app its inbox's length; 0, or a refusal, when nothing of it was changed.
-- An element is pushed before its ids are recorded: should the push fail, they must not be taken.
-- The inbox's TTL is prolonged, and never shortened, when the state changes, which it does each
-- minute; without a guard each time. A list of one element is new and has none.
local id_ttl, inbox_ttl = ARGV[1], ARGV[2]

local function append(key, at, k)
  local held = redis.call('MGET', unpack(KEYS, key + 1, key + 1 + k))
  if ARGV[at + 1] == '1' and (held[1] or '') ~= ARGV[at + 2] then return 0 end
  for i = 2, k + 1 do
    if held[i] then return 0 end
  end
  local length = redis.pcall('RPUSH', KEYS[key], ARGV[at + 4])
  if type(length) == 'table' then return length end
  for i = 1, k do redis.call('SET', KEYS[key + 1 + i], ARGV[at + 4 + i], 'PX', id_ttl) end
  local changed = ARGV[at + 3] ~= ''
  if changed then redis.call('SET', KEYS[key + 1], ARGV[at + 3], 'PX', inbox_ttl) end
  if length == 1 or (changed or ARGV[at + 1] == '0')
    and redis.call('PTTL', KEYS[key]) < tonumber(inbox_ttl) then
    redis.call('PEXPIRE', KEYS[key], inbox_ttl)
  end
  return length
end

local lengths, key, at = {}, 1, 3
while at <= #ARGV do
  local k = tonumber(ARGV[at])
  lengths[#lengths + 1] = append(key, at, k)
  key, at = key + 2 + k, at + 5 + k
end
return lengths
