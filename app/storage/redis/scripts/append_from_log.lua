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
local ids, before, inbox, places = KEYS[1], KEYS[2], KEYS[3], KEYS[5]
local id_ttl, app = tonumber(ARGV[1]), app_of(inbox)
local state, stale = '', false
if ARGV[3] == '1' then
  state = redis.call('GET', KEYS[4]) or ''
  stale = state ~= ARGV[4]
end
turn_over(ids, before, id_ttl)
local outcomes, length, moved = {}, 0, false
for a = 6, #ARGV, 5 do
  local field, token, source, offset = ARGV[a] .. app, ARGV[a + 1], ARGV[a + 3], ARGV[a + 4]
  local known = tokens_of(ids, before, {field})[1]
  local passed = tonumber(offset) <= tonumber(redis.call('HGET', places, source) or -1)
  local outcome = 0
  if known then
    outcome = (known == token) and 1 or 2
    repeat_known(ids, before, field, known)
  elseif passed then
    outcome = 4
  elseif stale then
    outcome = 3
  else
    length = redis.call('RPUSH', inbox, ARGV[a + 2])
    remember(ids, id_ttl, {field, token})
  end
  if outcome < 3 and not passed and not stale then
    redis.call('HSET', places, source, offset)
    moved = true
  end
  outcomes[#outcomes + 1] = outcome
end
if moved then redis.call('PEXPIRE', places, ARGV[2]) end
if length > 0 then
  if ARGV[5] ~= '' then redis.call('SET', KEYS[4], ARGV[5], 'PX', ARGV[2]) end
  if length == 1 or redis.call('PTTL', inbox) < ARGV[2] - 60000 then
    redis.call('PEXPIRE', inbox, ARGV[2])
  end
end
outcomes[#outcomes + 1] = length
outcomes[#outcomes + 1] = stale and state or ''
return outcomes
