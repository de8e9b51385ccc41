-- ARGV: the value, its time, a new generation, the channel of the news, what to say there.
local bytes, time, seed, news, message = unpack(ARGV)
local now = KEYS[3] and generations(seed)
redis.call('SET', KEYS[1], bytes, 'PX', time)
if now then redis.call('SETRANGE', KEYS[1], HEADER, now) end
outlive(time)
redis.call('DEL', KEYS[2])
redis.call('PUBLISH', news, message)
wake()
return 1
