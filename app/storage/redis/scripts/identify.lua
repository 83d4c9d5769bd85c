-- Return the identity of the store. If there is none, write one first.
-- The identity has an id (32 hex digits) and the time of first use in Unix seconds, separated by a
-- space. The time is the server's, so that it does not depend on which worker comes first. There is
-- no TTL: an identity that expired would make the store look emptied.
local function identify(key, new_id)
  local identity = redis.call('GET', key)
  if not identity then
    identity = new_id .. ' ' .. redis.call('TIME')[1]
    redis.call('SET', key, identity)
  end
  return identity
end
