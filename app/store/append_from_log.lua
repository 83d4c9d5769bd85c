-- Append batches that stand in a log to an app's inbox, each once, and if the app is guarded only while
-- its state is as expected.
-- KEYS  inbox, state, places, id_1 … id_k: one for each batch
-- ARGV  id_ttl_ms, inbox_ttl_ms, guarded (0 or 1), expected state, new state ('' = unchanged),
--       then per batch: token, element, source, offset
-- Returns what append.lua does, or per batch 4 = what stood there was appended before.
-- Ids come first: what was appended and forgotten to be said so is our own retry.
-- While the state is another one no place is taken down: what was refused comes again.
-- The element is pushed before its id and place are recorded: should the push fail, neither must be.
local state, stale = '', false
if ARGV[3] == '1' then
  state = redis.call('GET', KEYS[2]) or ''
  stale = state ~= ARGV[4]
end
local outcomes, length, moved = {}, 0, false
for a = 6, #ARGV, 4 do
  local id, source, offset = KEYS[#outcomes + 4], ARGV[a + 2], tonumber(ARGV[a + 3])
  local token = redis.call('GET', id)
  local passed = offset <= tonumber(redis.call('HGET', KEYS[3], source) or -1)
  local outcome = 0
  if token then
    outcome = (token == ARGV[a]) and 1 or 2
    redis.call('SET', id, token, 'KEEPTTL')
  elseif passed then
    outcome = 4
  elseif stale then
    outcome = 3
  else
    length = redis.call('RPUSH', KEYS[1], ARGV[a + 1])
    redis.call('SET', id, ARGV[a], 'PX', ARGV[1])
  end
  if outcome < 3 and not passed and not stale then
    redis.call('HSET', KEYS[3], source, ARGV[a + 3])
    moved = true
  end
  outcomes[#outcomes + 1] = outcome
end
if moved then redis.call('PEXPIRE', KEYS[3], ARGV[2]) end
if length > 0 then
  if ARGV[5] ~= '' then redis.call('SET', KEYS[2], ARGV[5], 'PX', ARGV[2]) end
  if length == 1 or redis.call('PTTL', KEYS[1]) < ARGV[2] - 60000 then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
  end
end
outcomes[#outcomes + 1] = length
outcomes[#outcomes + 1] = stale and state or ''
return outcomes
