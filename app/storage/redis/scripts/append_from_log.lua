-- Append batches read from a log to an app's inbox, each id and each offset once, optionally only
-- in an expected state of the app.
-- KEYS  newer ids, older ids (ids.lua), inbox, state, offsets
-- ARGV  id_ttl_ms, inbox_ttl_ms, whether a state is expected (0 or 1), expected state, new state
--       ('' = unchanged), then per batch: id, token, element, source, offset
-- Returns the same as append.lua; also per batch 4 = replayed: this offset was appended before.
-- Ids are checked before offsets: a batch that was appended, but whose answer was lost, is our own
-- retry.
-- In a stale state no offset is recorded: the rejected batches come again.
-- An element is pushed before its id and offset are recorded: if the push fails, neither may be
-- known.
local newer_ids, older_ids, inbox, offsets = KEYS[1], KEYS[2], KEYS[3], KEYS[5]
local id_ttl, app = tonumber(ARGV[1]), app_of(inbox)
local state, is_stale = '', false
if ARGV[3] == '1' then
  state = redis.call('GET', KEYS[4]) or ''
  is_stale = state ~= ARGV[4]
end
turn_over(newer_ids, older_ids, id_ttl)
local outcomes, length, has_recorded = {}, 0, false
for arg = 6, #ARGV, 5 do
  local field, token = ARGV[arg] .. app, ARGV[arg + 1]
  local source, offset = ARGV[arg + 3], ARGV[arg + 4]
  local known_token = tokens_of(newer_ids, older_ids, {field})[1]
  local is_recorded = tonumber(offset) <= tonumber(redis.call('HGET', offsets, source) or -1)
  local outcome = 0
  if known_token then
    outcome = (known_token == token) and 1 or 2
    repeat_known(newer_ids, older_ids, field, known_token)
  elseif is_recorded then
    outcome = 4
  elseif is_stale then
    outcome = 3
  else
    length = redis.call('RPUSH', inbox, ARGV[arg + 2])
    remember(newer_ids, id_ttl, {field, token})
  end
  if outcome < 3 and not is_recorded and not is_stale then
    redis.call('HSET', offsets, source, offset)
    has_recorded = true
  end
  outcomes[#outcomes + 1] = outcome
end
if has_recorded then redis.call('PEXPIRE', offsets, ARGV[2]) end
if length > 0 then
  if ARGV[5] ~= '' then redis.call('SET', KEYS[4], ARGV[5], 'PX', ARGV[2]) end
  if length == 1 or redis.call('PTTL', inbox) < ARGV[2] - 60000 then
    redis.call('PEXPIRE', inbox, ARGV[2])
  end
end
outcomes[#outcomes + 1] = length
outcomes[#outcomes + 1] = is_stale and state or ''
return outcomes
