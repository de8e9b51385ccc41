-- ARGV: the token, the value, its time, what the claim's tags stood at, what the tags in sum stood at, a new generation.
-- Gives 1 if the value is stored.
local token, bytes, time, claimed, voids, seed = unpack(ARGV)
if not holds(token) then return 0 end
local now = KEYS[3] and generations(seed) or claimed
-- Tags that were not known at the claim: it is not known either whether they were voided since, unless none was.
local more = #now > #claimed
if string.sub(now, 1, #claimed) ~= claimed or (more and generation(KEYS[4], seed, 0) ~= voids) then
  redis.call('DEL', KEYS[2])
  wake()
  return 0
end
redis.call('SET', KEYS[1], bytes, 'PX', time)
if KEYS[3] then redis.call('SETRANGE', KEYS[1], HEADER, now) end
outlive(time)
redis.call('DEL', KEYS[2])
wake()
return 1
