-- ARGV: the most bytes wanted, what stands before a tag's name, the filling seen or '', what to do with it ('d' discards,
-- 'f' forces, 'o' has an old value), a new token, the lease's time, a new generation, what stands for the tags' names.
-- Gives 0 and a value, 1 and the generations under which the lease was granted, or 2 (busy) or 3 (throttled) and for how long.
local max, root, seen, mode, token, time, seed, names = unpack(ARGV)
local force = string.find(mode, 'f', 1, true)
local found = value(max, root)
if found then
  if string.sub(found, 9, 24) ~= seen then
    if not force then return { 0, found, left(KEYS[1]) } end
  elseif string.find(mode, 'd', 1, true) then
    redis.call('DEL', KEYS[1])
  end
end

local held = held()
local now = KEYS[3] and generations(seed)
if held and not force then
  if string.sub(held, 1, 1) ~= 'L' then
    if string.find(mode, 'o', 1, true) then return { 3, left(KEYS[2]) } end
  elseif string.sub(held, 18, 25) ~= names or string.sub(held, 26) == (now or '') then
    return { 2, left(KEYS[2]) }
  end
  -- A lease whose tags were voided since will not store anything: it is as good as gone.
end
redis.call('SET', KEYS[2], 'L' .. token .. names .. (now or ''), 'PX', time)
-- Not over what stands for a failure: those who watch have heard of that, and this would drown it.
if held and string.sub(held, 1, 1) == 'L' then wake() end
return { 1, now and now .. generation(KEYS[4], seed, 0) or '' }
