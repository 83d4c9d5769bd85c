-- Append batches to an app's inbox, each once.
-- KEYS  inbox, id_1 … id_k
-- ARGV  id_ttl_ms, inbox_ttl_ms, then per batch: index into the ids (0 = none), token, element
-- Returns per batch 0 = stored, 1 = known with the same token (our own retry), 2 = a duplicate;
-- last, the inbox's length (0 when nothing was pushed).
-- The element is pushed before its id is recorded: should the push fail, the id must not be taken.
-- A TTL is never shortened.
local outcomes, length = {}, 0
for a = 3, #ARGV, 3 do
  local id, outcome = tonumber(ARGV[a]), 0
  if id > 0 then
    local token = redis.call('GET', KEYS[1 + id])
    if token then outcome = (token == ARGV[a + 1]) and 1 or 2 end
  end
  if outcome == 0 then
    length = redis.call('RPUSH', KEYS[1], ARGV[a + 2])
    if id > 0 then redis.call('SET', KEYS[1 + id], ARGV[a + 1], 'PX', ARGV[1]) end
  end
  outcomes[#outcomes + 1] = outcome
end
if length > 0 and redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
outcomes[#outcomes + 1] = length
return outcomes
