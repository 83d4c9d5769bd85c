-- Append coalesced elements, each with the merge of several batches, to the inboxes of several
-- apps.
-- Each app is handled separately: if any of its ids is known, or if its state is not the expected
-- one, nothing of the app is changed.
-- KEYS  newer ids, older ids (ids.lua), the inboxes of the apps, their states
-- ARGV  id_ttl_ms, inbox_ttl_ms, whether the TTLs of the ids are due (0 or 1), number of ids, '',
--       the ids of all apps (each followed by the name of its app), their tokens; per app: number
--       of ids, number of states, the states, element. States: none if any state will do; the
--       expected one if it stays; the expected and the new one if it changes
-- Returns per app the length of its inbox; 0, or an error, if nothing of it was changed.
-- A worker that waits for each answer pays for each command here, so there are as few as possible.
-- The TTLs of the ids are due now and then, and if the newer hash has no field '': then it is new.
-- An element is pushed before its ids are recorded: if the push fails, they must stay unknown.
-- The inbox's TTL is extended, never shortened, when the state changes, which happens every minute;
-- without an expected state it is extended each time. A list of one element is new and has no TTL
-- yet.
local id_ttl, inbox_ttl, id_count = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[4])
local app_count, fields_end = (#KEYS - 2) / 2, 5 + id_count

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

local newer = redis.call('HMGET', KEYS[1], unpack(ARGV, 5, fields_end))
local older = redis.call('HMGET', KEYS[2], unpack(ARGV, 5, fields_end))
local states = redis.call('MGET', unpack(KEYS, 3 + app_count))
local has_due_ttls = ARGV[3] == '1' or not newer[1]
if has_due_ttls then turn_over(KEYS[1], KEYS[2], id_ttl) end

local lengths, new_ids, ids_before = {}, {}, 1 -- ids_before: those of the apps before, and ''
local arg = fields_end + id_count + 1
for app = 1, app_count do
  local app_ids, state_count = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1])
  local is_known = false
  for i = ids_before + 1, ids_before + app_ids do is_known = is_known or newer[i] or older[i] end
  local length = 0
  if not is_known then
    -- With fewer than two states, `expected` or `new` is another argument, which is not used.
    length = append(KEYS[2 + app], KEYS[2 + app_count + app], state_count, ARGV[arg + 2],
      ARGV[arg + 3], ARGV[arg + 2 + state_count], states[app])
  end
  if type(length) == 'number' and length > 0 then
    for i = ids_before + 1, ids_before + app_ids do
      new_ids[#new_ids + 1] = ARGV[4 + i]
      new_ids[#new_ids + 1] = ARGV[4 + i + id_count]
    end
  end
  lengths[app] = length
  arg, ids_before = arg + 3 + state_count, ids_before + app_ids
end
if #new_ids > 0 then
  if not newer[1] then redis.call('HSET', KEYS[1], '', '') end
  redis.call('HSET', KEYS[1], unpack(new_ids))
end
if has_due_ttls then prolong(KEYS[1], id_ttl) end
return lengths
