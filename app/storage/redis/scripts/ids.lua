-- The ids of known batches. This file is prepended to the scripts that append.
-- Two hashes map id and app to the token of the POST. New ids go into the first hash. Once no id in
-- the second is needed any more, it is deleted and the first takes its place. So an id is kept for
-- at least as long as requested and about twice as long at most, without a TTL for each id.
-- DELETED_MS: the second hash is deleted this long before it would expire. We delete it in the
-- background (UNLINK); Redis would delete it in one step.
-- SPARE_MS: the first hash lives this much longer than requested, because its TTL is not extended
-- with each id. Workers have it extended every second (TTLS_DUE_S in store.py), or later by as much
-- as one call takes.
-- FIELDS_MAX: Lua can pass only some thousand values to one command.
local DELETED_MS = 5000
local SPARE_MS = 10000
local FIELDS_MAX = 1000

local function prolong(newer_ids, ttl_ms)
  if redis.call('PTTL', newer_ids) < ttl_ms + SPARE_MS then
    redis.call('PEXPIRE', newer_ids, ttl_ms + SPARE_MS + math.floor(ttl_ms / 100))
  end
end

-- Replace the second hash by the first if the second is not needed any more.
-- It runs before all other writes of a script and never leaves the first key missing. While a
-- cluster moves the hash slot, a missing key cannot be created: the script would end there, and
-- what it had pushed by then would stay. It starts with HSET because a full Redis rejects that:
-- once a script has written anything, Redis lets it continue although it is full.
local function turn_over(newer_ids, older_ids, ttl_ms)
  if redis.call('PTTL', older_ids) >= DELETED_MS then return end
  if redis.call('EXISTS', newer_ids) == 0 then return end
  redis.call('HSET', newer_ids, '', '')
  redis.call('UNLINK', older_ids)
  redis.call('RENAME', newer_ids, older_ids)
  redis.call('HSET', newer_ids, '', '')
  prolong(newer_ids, ttl_ms)
end

-- APP in dm:{APP}:inbox.
local function app_of(inbox)
  return string.sub(inbox, 5, -8)
end

-- The token of each of these fields; false for unknown ones.
local function tokens_of(newer_ids, older_ids, fields)
  local tokens = {}
  for first = 1, #fields, FIELDS_MAX do
    local last = math.min(first + FIELDS_MAX - 1, #fields)
    local newer = redis.call('HMGET', newer_ids, unpack(fields, first, last))
    local older = redis.call('HMGET', older_ids, unpack(fields, first, last))
    for i = 1, #newer do tokens[first + i - 1] = newer[i] or older[i] end
  end
  return tokens
end

-- Write a known id again, so that WAIT covers it, too.
local function repeat_known(newer_ids, older_ids, field, token)
  local ids = redis.call('HEXISTS', newer_ids, field) == 1 and newer_ids or older_ids
  redis.call('HSET', ids, field, token)
end

-- Record these fields, each followed by its token.
local function remember(newer_ids, ttl_ms, fields)
  for first = 1, #fields, FIELDS_MAX do
    redis.call('HSET', newer_ids, unpack(fields, first, math.min(first + FIELDS_MAX - 1, #fields)))
  end
  prolong(newer_ids, ttl_ms)
end
