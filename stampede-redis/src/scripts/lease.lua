-- The lease.

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
