-- What tags stand at.

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

-- A tag's generation outlives the values that bear it.
local function outlive(time)
  for i = 5, #KEYS do
    if redis.call('PTTL', KEYS[i]) < time + DAY / 2 then
      redis.call('PEXPIRE', KEYS[i], string.format('%.0f', time + DAY))
    end
  end
end
