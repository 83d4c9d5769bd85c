-- Append a bundle, several batches as one element, to an app's inbox: if none of its ids is known, and
-- if the app is guarded, while its state is as expected.
-- KEYS  inbox, state, id_1 … id_k, all different
-- ARGV  id_ttl_ms, inbox_ttl_ms, guarded (0 or 1), expected state, new state ('' = unchanged),
--       element, token_1 … token_k
-- Returns the inbox's length; 0 when nothing was changed.
-- The element is pushed before its ids are recorded: should the push fail, they must not be taken.
-- A TTL is never shortened, and prolonged once a minute; a list of one element is new and has none.
if ARGV[3] == '1' and (redis.call('GET', KEYS[2]) or '') ~= ARGV[4] then return 0 end
if redis.call('EXISTS', unpack(KEYS, 3)) > 0 then return 0 end
local length = redis.call('RPUSH', KEYS[1], ARGV[6])
for i = 3, #KEYS do redis.call('SET', KEYS[i], ARGV[i + 4], 'PX', ARGV[1]) end
if ARGV[5] ~= '' then redis.call('SET', KEYS[2], ARGV[5], 'PX', ARGV[2]) end
if length == 1 or redis.call('PTTL', KEYS[1]) < ARGV[2] - 60000 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return length
