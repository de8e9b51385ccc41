-- What is stored.

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
