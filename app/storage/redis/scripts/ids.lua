-- Which batches are known. Goes before the scripts that append.
-- Two hashes hold id and app -> token. What is new goes into the first; once nothing in the second is
-- needed any more, that is dropped and the first takes its place. So an id is kept for at least as
-- long as was asked, and for about twice as long at the most; and none has to expire by itself.
-- SPARE_MS: the second is dropped (in the background) so long before Redis would do it (at one go).
-- AT_ONCE: Lua passes no more than some thousand values to a command.
local SPARE_MS = 1000
local AT_ONCE = 1000

local function prolong(ids, ttl_ms)
  if redis.call('PTTL', ids) < ttl_ms + SPARE_MS then
    redis.call('PEXPIRE', ids, ttl_ms + SPARE_MS + math.floor(ttl_ms / 100))
  end
end

-- Let the first take the place of the second, if that is not needed any more. Comes before all that a
-- script writes, and leaves a first one behind: on a cluster that is moving the slot, a key that is
-- gone cannot be made anew, and what was pushed by then would stay. It begins with what a full Redis
-- refuses: a script that has written anything else is let go on.
local function turn_over(ids, before, ttl_ms)
  if redis.call('PTTL', before) >= SPARE_MS or redis.call('EXISTS', ids) == 0 then return end
  redis.call('HSET', ids, '', '')
  redis.call('UNLINK', before)
  redis.call('RENAME', ids, before)
  redis.call('HSET', ids, '', '')
  prolong(ids, ttl_ms)
end

-- The name in dm:{APP}:inbox.
local function app_of(inbox)
  return string.sub(inbox, 5, -8)
end

-- The token of each of these; false where it is not known.
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

-- Write what is known once more, so that WAIT speaks of it, too.
local function repeat_known(ids, before, field, token)
  redis.call('HSET', redis.call('HEXISTS', ids, field) == 1 and ids or before, field, token)
end

-- Take these down, each followed by its token.
local function remember(ids, ttl_ms, fields)
  for first = 1, #fields, AT_ONCE do
    redis.call('HSET', ids, unpack(fields, first, math.min(first + AT_ONCE - 1, #fields)))
  end
  prolong(ids, ttl_ms)
end
