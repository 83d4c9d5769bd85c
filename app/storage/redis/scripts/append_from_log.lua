-- Append batches read from a log to an app's inbox, each id and each position once, optionally only
-- in an expected state of the app.
-- KEYS  newer ids, older ids (ids.lua), inbox, state, offsets
-- ARGV  id_ttl_ms, inbox_ttl_ms, whether a state is expected (0 or 1), expected state, new state
--       ('' = unchanged), then per batch: id, token, element, source, offset, epoch ('' = unknown)
-- Returns the same as append.lua; also per batch 4 = replayed: this position was appended before.
-- Of a source, `offsets` has its last offset, and in the field SOURCE:epoch "EPOCH OFFSET". Versions
-- that know no epochs write the offset alone, so the epoch counts only beside the same offset.
-- Ids are checked before offsets: a batch that was appended, but whose answer was lost, is our own
-- retry.
-- In a stale state no offset is recorded: the rejected batches come again.
-- An element is pushed before its id and offset are recorded: if the push fails, neither may be
-- known.
local function is_before(offset, epoch, last_offset, last_epoch)
  if epoch and last_epoch and epoch ~= last_epoch then return epoch < last_epoch end
  return offset <= last_offset
end
local function is_appended(offsets, source, offset, epoch)
  local last_offset = redis.call('HGET', offsets, source)
  if not last_offset then return false end
  local last_epoch, its_offset = string.match(
    redis.call('HGET', offsets, source .. ':epoch') or '', '^(%d+) (%d+)$')
  if its_offset ~= last_offset then last_epoch = nil end
  return is_before(tonumber(offset), tonumber(epoch), tonumber(last_offset), tonumber(last_epoch))
end
local function record_position(offsets, source, offset, epoch)
  redis.call('HSET', offsets, source, offset)
  if epoch ~= '' then redis.call('HSET', offsets, source .. ':epoch', epoch .. ' ' .. offset) end
end
local newer_ids, older_ids, inbox, offsets = KEYS[1], KEYS[2], KEYS[3], KEYS[5]
local id_ttl, app = tonumber(ARGV[1]), app_of(inbox)
local state, is_stale = '', false
if ARGV[3] == '1' then
  state = redis.call('GET', KEYS[4]) or ''
  is_stale = state ~= ARGV[4]
end
turn_over(newer_ids, older_ids, id_ttl)
local outcomes, length, has_recorded = {}, 0, false
for arg = 6, #ARGV, 6 do
  local field, token = ARGV[arg] .. app, ARGV[arg + 1]
  local source, offset, epoch = ARGV[arg + 3], ARGV[arg + 4], ARGV[arg + 5]
  local known_token = tokens_of(newer_ids, older_ids, {field})[1]
  local is_recorded = is_appended(offsets, source, offset, epoch)
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
    record_position(offsets, source, offset, epoch)
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
