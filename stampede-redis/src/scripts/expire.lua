-- ARGV: the channel of the news, what to say there. What is stored stays for its stale window, counted from now.
local header = redis.pcall('GETRANGE', KEYS[1], 0, HEADER - 1)
local stale = 0
if type(header) == 'string' and #header == HEADER and string.sub(header, 1, 6) == 'STMP\1\0' then
  for i = 41, 48 do stale = stale * 256 + string.byte(header, i) end
  stale = math.ceil(stale / 1000000)
end
if stale == 0 then
  redis.call('DEL', KEYS[1])
elseif redis.call('PTTL', KEYS[1]) > stale then
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', stale))
end
redis.call('DEL', KEYS[2])
redis.call('PUBLISH', ARGV[1], ARGV[2])
wake()
return 1
