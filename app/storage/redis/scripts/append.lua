-- Append batches to an app's inbox, each once, and if the app is guarded only while its state is as
-- expected.
-- KEYS  ids, ids before (see ids.lua), inbox, state
-- ARGV  id_ttl_ms, inbox_ttl_ms, guarded (0 or 1), expected state, new state ('' = unchanged),
--       then per batch: id ('' = none), token, element
-- Returns per batch 0 = stored, 1 = known with the same token (our own retry), 2 = a duplicate,
-- 3 = the state is another one; then the inbox's length (0 when nothing was pushed); last the state,
-- if it is not the expected one ('' otherwise).
-- The element is pushed before its id is recorded: should the push fail, the id must not be taken.
-- A TTL is never shortened, and prolonged once a minute; a list of one element is new and has none.
local ids, before, inbox = KEYS[1], KEYS[2], KEYS[3]
local id_ttl, app = tonumber(ARGV[1]), app_of(inbox)
local state, stale = '', false
if ARGV[3] == '1' then
  state = redis.call('GET', KEYS[4]) or ''
  stale = state ~= ARGV[4]
end
turn_over(ids, before, id_ttl)
local outcomes, length = {}, 0
for a = 6, #ARGV, 3 do
  local id, token, outcome = ARGV[a], ARGV[a + 1], stale and 3 or 0
  local known = id ~= '' and tokens_of(ids, before, {id .. app})[1]
  if known then
    outcome = (known == token) and 1 or 2
    repeat_known(ids, before, id .. app, known)
  end
  if outcome == 0 then
    length = redis.call('RPUSH', inbox, ARGV[a + 2])
    if id ~= '' then remember(ids, id_ttl, {id .. app, token}) end
  end
  outcomes[#outcomes + 1] = outcome
end
if length > 0 then
  if ARGV[5] ~= '' then redis.call('SET', KEYS[4], ARGV[5], 'PX', ARGV[2]) end
  if length == 1 or redis.call('PTTL', inbox) < ARGV[2] - 60000 then
    redis.call('PEXPIRE', inbox, ARGV[2])
  end
end
outcomes[#outcomes + 1] = length
outcomes[#outcomes + 1] = stale and state or ''
return outcomes
