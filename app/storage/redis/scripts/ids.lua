-- The ids of known batches. This file is prepended to the scripts that append.
-- Two hashes map id and app to the token of the POST. New ids go into the first hash. Once no id in
-- the second is needed any more, it is deleted and the first takes its place. So an id is kept for
-- at least as long as requested and about twice as long at most, without a TTL for each id.
-- SPARE_MS: the second hash is deleted this long before it would expire. We delete it in the
-- background (UNLINK); Redis would delete it in one step.
-- AT_ONCE: Lua can pass only some thousand values to one command.
local SPARE_MS = 1000
local AT_ONCE = 1000

local function prolong(ids, ttl_ms)
  if redis.call('PTTL', ids) < ttl_ms + SPARE_MS then
    redis.call('PEXPIRE', ids, ttl_ms + SPARE_MS + math.floor(ttl_ms / 100))
  end
end

-- Replace the second hash by the first if the second is not needed any more.
-- It runs before all other writes of a script and never leaves the first key missing. While a
-- cluster moves the hash slot, a missing key cannot be created: the script would end there, and
-- what it had pushed by then would stay. It starts with HSET because a full Redis rejects that:
-- once a script has written anything, Redis lets it continue although it is full.
local function turn_over(ids, before, ttl_ms)
  if redis.call('PTTL', before) >= SPARE_MS or redis.call('EXISTS', ids) == 0 then return end
  redis.call('HSET', ids, '', '')
  redis.call('UNLINK', before)
  redis.call('RENAME', ids, before)
  redis.call('HSET', ids, '', '')
  prolong(ids, ttl_ms)
end

-- APP in dm:{APP}:inbox.
local function app_of(inbox)
  return string.sub(inbox, 5, -8)
end

-- The token of each of these fields; false for unknown ones.
local function tokens_of(ids, before, fields)
  local tokens = {}
  for first = 1, #fields, AT_ONCE do
    local last = math.min(first + AT_ONCE - 1, #fields)
    local newer = redis.call('HMGET', ids, unpack(fields, first, last))
    local older = redis.call('HMGET', before, unpack(fields, first, last))
    for i = 1, #newer do tokens[first + i - 1] = newer[i] or older[i] end
  end
  return tokens
end

-- Write a known id again, so that WAIT covers it, too.
local function repeat_known(ids, before, field, token)
  redis.call('HSET', redis.call('HEXISTS', ids, field) == 1 and ids or before, field, token)
end

-- Record these fields, each followed by its token.
local function remember(ids, ttl_ms, fields)
  for first = 1, #fields, AT_ONCE do
    redis.call('HSET', ids, unpack(fields, first, math.min(first + AT_ONCE - 1, #fields)))
  end
  prolong(ids, ttl_ms)
end
