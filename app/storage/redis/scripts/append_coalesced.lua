-- Append coalesced elements, each with the merge of several batches, to the inboxes of several
-- apps.
-- Each app is handled separately: if any of its ids is known, or if its state is not the expected
-- one, nothing of the app is changed.
-- KEYS  newer ids, older ids (ids.lua); per app: inbox, state
-- ARGV  id_ttl_ms, inbox_ttl_ms; per app: number of states, the states, element, and one string
--       with its k ids (16 bytes each) followed by its k tokens (8 bytes each). States: none if any
--       state will do; the expected one if it stays; the expected and the new one if it changes
-- Returns per app the length of its inbox; 0, or an error, if nothing of it was changed.
-- An element is pushed before its ids are recorded: if the push fails, they must stay unknown.
-- The inbox's TTL is extended, never shortened, when the state changes, which happens every minute;
-- without an expected state it is extended each time. A list of one element is new and has no TTL
-- yet.
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
