-- Append coalesced elements, each with the merge of several batches, to the inboxes of several
-- apps.
-- Each app is handled separately: if any of its ids is known, or if its state is not the expected
-- one, nothing of the app is changed.
-- KEYS  newer ids, older ids (ids.lua); per app: inbox, state
-- ARGV  id_ttl_ms, inbox_ttl_ms; per app: number of states, the states, element, and one string
--       with its ids (16 bytes each) followed by its tokens (8 bytes each). States: none if any
--       state will do; the expected one if it stays; the expected and the new one if it changes
-- Returns per app the length of its inbox; 0, or an error, if nothing of it was changed.
-- An element is pushed before its ids are recorded: if the push fails, they must stay unknown.
-- The inbox's TTL is extended, never shortened, when the state changes, which happens every minute;
-- without an expected state it is extended each time. A list of one element is new and has no TTL
-- yet.
local ID_BYTES, TOKEN_BYTES = 16, 8
local newer_ids, older_ids = KEYS[1], KEYS[2]
local id_ttl, inbox_ttl = tonumber(ARGV[1]), ARGV[2]

local function append(inbox, state_key, state_count, expected, new, element, state)
  if state_count > 0 and (state or '') ~= expected then return 0 end
  -- pcall: an error of one app must not end the script, because apps before it were changed.
  local length = redis.pcall('RPUSH', inbox, element)
  if type(length) == 'table' then return length end
  if state_count == 2 then redis.call('SET', state_key, new, 'PX', inbox_ttl) end
  if length == 1 or state_count ~= 1 and redis.call('PTTL', inbox) < tonumber(inbox_ttl) then
    redis.call('PEXPIRE', inbox, inbox_ttl)
  end
  return length
end

-- First read what is known of all apps, in three commands instead of three for each app.
local id_fields, state_keys = {}, {}
local key, arg = 3, 3
while arg <= #ARGV do
  local element_arg = arg + 1 + tonumber(ARGV[arg])
  local app, ids_and_tokens = app_of(KEYS[key]), ARGV[element_arg + 1]
  for i = 1, #ids_and_tokens / (ID_BYTES + TOKEN_BYTES) do
    local id = string.sub(ids_and_tokens, ID_BYTES * (i - 1) + 1, ID_BYTES * i)
    id_fields[#id_fields + 1] = id .. app
  end
  state_keys[#state_keys + 1] = KEYS[key + 1]
  key, arg = key + 2, element_arg + 2
end
local states = redis.call('MGET', unpack(state_keys))
local known_tokens = tokens_of(newer_ids, older_ids, id_fields)
turn_over(newer_ids, older_ids, id_ttl)

local lengths, new_ids, ids_before = {}, {}, 0 -- ids_before: ids of the apps before this one
key, arg = 3, 3
while arg <= #ARGV do
  local state_count = tonumber(ARGV[arg])
  local element_arg = arg + 1 + state_count
  local ids_and_tokens = ARGV[element_arg + 1]
  local id_count = #ids_and_tokens / (ID_BYTES + TOKEN_BYTES)
  local length = 0
  local is_known = false
  for i = ids_before + 1, ids_before + id_count do is_known = is_known or known_tokens[i] end
  if not is_known then
    -- With fewer than two states, `expected` or `new` is another argument, which is not used.
    local expected, new = ARGV[arg + 1], ARGV[arg + 2]
    local state = states[#lengths + 1]
    length = append(
      KEYS[key], KEYS[key + 1], state_count, expected, new, ARGV[element_arg], state)
  end
  if type(length) == 'number' and length > 0 then
    local tokens = string.sub(ids_and_tokens, ID_BYTES * id_count + 1)
    for i = 1, id_count do
      new_ids[#new_ids + 1] = id_fields[ids_before + i]
      new_ids[#new_ids + 1] = string.sub(tokens, TOKEN_BYTES * (i - 1) + 1, TOKEN_BYTES * i)
    end
  end
  lengths[#lengths + 1] = length
  key, arg, ids_before = key + 2, element_arg + 2, ids_before + id_count
end
if #new_ids > 0 then remember(newer_ids, id_ttl, new_ids) end
return lengths
