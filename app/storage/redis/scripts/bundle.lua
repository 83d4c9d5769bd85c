-- Append bundles, each several batches as one element, to the inboxes of their apps, of one app after
-- the other: if none of a bundle's ids is known, and if its app is guarded, while its state is as
-- expected.
-- KEYS  ids, ids before (see ids.lua); of each app: inbox, state
-- ARGV  id_ttl_ms, inbox_ttl_ms; of each app: how many states follow, these, element, and its k ids
--       of 16 bytes and then tokens of 8 as one; states are: none, when it is not guarded; the
--       expected one, when that stays; the expected and the new one
-- Returns of each app its inbox's length; 0, or a refusal, when nothing of it was changed.
-- Elements are pushed before their ids are recorded: should a push fail, they must not be taken.
-- The inbox's TTL is prolonged, and never shortened, when the state changes, which it does each
-- minute; without a guard each time. A list of one element is new and has none.
local ids, ids_before = KEYS[1], KEYS[2]
local id_ttl, inbox_ttl = tonumber(ARGV[1]), ARGV[2]

local function append(inbox, state, states, expected, new, element, held)
  if states > 0 and (held or '') ~= expected then return 0 end
  local length = redis.pcall('RPUSH', inbox, element)
  if type(length) == 'table' then return length end
  if states == 2 then redis.call('SET', state, new, 'PX', inbox_ttl) end
  if length == 1 or states ~= 1 and redis.call('PTTL', inbox) < tonumber(inbox_ttl) then
    redis.call('PEXPIRE', inbox, inbox_ttl)
  end
  return length
end

local fields, states = {}, {}
local key, at = 3, 3
while at <= #ARGV do
  local behind = at + 1 + tonumber(ARGV[at])
  local app, names = app_of(KEYS[key]), ARGV[behind + 1]
  for i = 1, #names / 24 do
    fields[#fields + 1] = string.sub(names, 16 * i - 15, 16 * i) .. app
  end
  states[#states + 1] = KEYS[key + 1]
  key, at = key + 2, behind + 2
end
local held = redis.call('MGET', unpack(states))
local tokens = tokens_of(ids, ids_before, fields)
turn_over(ids, ids_before, id_ttl)

local lengths, new, seen = {}, {}, 0
key, at = 3, 3
while at <= #ARGV do
  local count = tonumber(ARGV[at])
  local behind = at + 1 + count
  local names = ARGV[behind + 1]
  local k = #names / 24
  local length = 0
  local known = false
  for i = seen + 1, seen + k do known = known or tokens[i] end
  if not known then
    local before, after = ARGV[at + 1], ARGV[at + 2]
    local app_held = held[#lengths + 1]
    length = append(KEYS[key], KEYS[key + 1], count, before, after, ARGV[behind], app_held)
  end
  if type(length) == 'number' and length > 0 then
    for i = 1, k do
      new[#new + 1] = fields[seen + i]
      new[#new + 1] = string.sub(names, 16 * k + 8 * i - 7, 16 * k + 8 * i)
    end
  end
  lengths[#lengths + 1] = length
  key, at, seen = key + 2, behind + 2, seen + k
end
if #new > 0 then remember(ids, id_ttl, new) end
return lengths
