-- Append batches to an app's inbox, each once, and if the app is guarded only while its state is as
-- expected.
-- KEYS  inbox, state, id_1 … id_k
-- ARGV  id_ttl_ms, inbox_ttl_ms, guarded (0 or 1), expected state, new state ('' = unchanged),
--       then per batch: index into the ids (0 = none), token, element
-- Returns per batch 0 = stored, 1 = known with the same token (our own retry), 2 = a duplicate,
-- 3 = the state is another one; then the inbox's length (0 when nothing was pushed); last the state,
-- if it is not the expected one ('' otherwise).
-- The element is pushed before its id is recorded: should the push fail, the id must not be taken.
-- A TTL is never shortened, and prolonged once a minute; a list of one element is new and has none.
-- A known id is written once more, so that WAIT speaks of it, too.
local state, stale = '', false
if ARGV[3] == '1' then
  state = redis.call('GET', KEYS[2]) or ''
  stale = state ~= ARGV[4]
end
local outcomes, length = {}, 0
for a = 6, #ARGV, 3 do
  local id, outcome = tonumber(ARGV[a]), stale and 3 or 0
  if id > 0 then
    local token = redis.call('GET', KEYS[2 + id])
    if token then
      outcome = (token == ARGV[a + 1]) and 1 or 2
      redis.call('SET', KEYS[2 + id], token, 'KEEPTTL')
    end
  end
  if outcome == 0 then
    length = redis.call('RPUSH', KEYS[1], ARGV[a + 2])
    if id > 0 then redis.call('SET', KEYS[2 + id], ARGV[a + 1], 'PX', ARGV[1]) end
  end
  outcomes[#outcomes + 1] = outcome
end
if length > 0 then
  if ARGV[5] ~= '' then redis.call('SET', KEYS[2], ARGV[5], 'PX', ARGV[2]) end
  if length == 1 or redis.call('PTTL', KEYS[1]) < ARGV[2] - 60000 then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
  end
end
outcomes[#outcomes + 1] = length
outcomes[#outcomes + 1] = stale and state or ''
return outcomes
