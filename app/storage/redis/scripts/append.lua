-- Append batches to an app's inbox, each id once, optionally only in an expected state of the app.
-- KEYS  newer ids, older ids (ids.lua), inbox, state
-- ARGV  id_ttl_ms, inbox_ttl_ms, whether a state is expected (0 or 1), expected state, new state
--       ('' = unchanged), then per batch: id ('' = none), token, element
-- Returns per batch 0 = stored, 1 = id known with the same token (our own retry), 2 = duplicate,
-- 3 = stale: the state is not the expected one; then the length of the inbox (0 if nothing was
-- pushed); last the state if it is not the expected one, else ''.
-- An element is pushed before its id is recorded: if the push fails, the id must stay unknown.
-- TTLs are never shortened, and extended at most once a minute. A list of one element is new and
-- has no TTL yet.
local newer_ids, older_ids, inbox = KEYS[1], KEYS[2], KEYS[3]
local id_ttl, app = tonumber(ARGV[1]), app_of(inbox)
local state, is_stale = '', false
if ARGV[3] == '1' then
  state = redis.call('GET', KEYS[4]) or ''
  is_stale = state ~= ARGV[4]
end
turn_over(newer_ids, older_ids, id_ttl)
local outcomes, length = {}, 0
for arg = 6, #ARGV, 3 do
  local id, token, outcome = ARGV[arg], ARGV[arg + 1], is_stale and 3 or 0
  local known_token = id ~= '' and tokens_of(newer_ids, older_ids, {id .. app})[1]
  if known_token then
    outcome = (known_token == token) and 1 or 2
    repeat_known(newer_ids, older_ids, id .. app, known_token)
  end
  if outcome == 0 then
    length = redis.call('RPUSH', inbox, ARGV[arg + 2])
    if id ~= '' then remember(newer_ids, id_ttl, {id .. app, token}) end
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
outcomes[#outcomes + 1] = is_stale and state or ''
return outcomes
