-- What the scripts share. KEYS are always: value, lease, and, but in Cluster, where these live elsewhere: what everything
-- stands at, what the tags in sum stand at, and what each tag stands at. WAKE is PUBLISH, in Cluster SPUBLISH.
--
-- A lease is 'L', a token of 16 bytes, 8 bytes that stand for the names of the tags, and their generations, 8 bytes each.
-- A 'T' in its place keeps those away who have an old value to serve. Offsets into values: envelope.rs, plus one.

local HEADER, DAY = 72, 86400000

local function wake()
  redis.call(WAKE, KEYS[1] .. ':w', '')
end

-- The generation at a key. Where there is none, one begins, so that what was lost is equal to nothing.
local function generation(key, seed, ms)
  local found = redis.call('GET', key)
  if found and #found == 8 then return found end
  if ms > 0 then redis.call('SET', key, seed, 'PX', ms) else redis.call('SET', key, seed) end
  return seed
end

-- Those of everything and of each tag.
local function generations(seed)
  local all = { generation(KEYS[3], seed, 0) }
  for i = 5, #KEYS do all[#all + 1] = generation(KEYS[i], seed, DAY) end
  return table.concat(all)
end

-- Whether none of a value's tags was voided since it was made.
local function stands(value, root)
  if string.sub(value, HEADER + 1, HEADER + 8) ~= redis.call('GET', KEYS[3]) then return false end
  local a, b = string.byte(value, 7, 8)
  local tags = a * 256 + b
  local at = HEADER + 9 + 8 * tags
  for i = 1, tags do
    a, b = string.byte(value, at, at + 1)
    if not b then return false end
    local name = at + 2
    at = name + a * 256 + b
    local now = redis.call('GET', root .. string.sub(value, name, at - 1) .. '}')
    if string.sub(value, HEADER + 1 + 8 * i, HEADER + 8 + 8 * i) ~= now then return false end
    a, b = string.byte(value, at, at + 1)
    if not b then return false end
    at = at + 2 + a * 256 + b
  end
  return true
end

-- The value, if there is one of ours that takes no more than max bytes, and stands. What is void or foreign is removed, but
-- on a replica.
local function value(max, root)
  local found = redis.pcall('GETRANGE', KEYS[1], 0, max)
  if type(found) == 'string' then
    if #found == 0 or #found > tonumber(max) then return nil end
    local is_ours = #found > HEADER and string.sub(found, 1, 6) == 'STMP\1\0'
    if is_ours and (not KEYS[3] or stands(found, root)) then return found end
  end
  redis.pcall('DEL', KEYS[1])
  return nil
end

-- How long a key lives yet, in milliseconds. One that would live for ever is none that we have set.
local function left(key)
  return math.max(redis.call('PTTL', key), 0)
end

-- The lease, or what stands in its place.
local function held()
  local found = redis.pcall('GET', KEYS[2])
  if type(found) ~= 'table' then return found end
  redis.call('DEL', KEYS[2])
  return false
end

-- Whether the lease is that of a token.
local function holds(token)
  local found = held()
  return found and string.sub(found, 1, 17) == 'L' .. token
end

-- A tag's generation outlives the values that bear it.
local function outlive(time)
  for i = 5, #KEYS do
    if redis.call('PTTL', KEYS[i]) < time + DAY / 2 then
      redis.call('PEXPIRE', KEYS[i], string.format('%.0f', time + DAY))
    end
  end
end
