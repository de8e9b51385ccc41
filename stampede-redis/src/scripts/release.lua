-- ARGV: the token, for how long to keep those away who have an old value; 0 for not at all.
if not holds(ARGV[1]) then return 0 end
if ARGV[2] == '0' then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], 'T', 'PX', ARGV[2]) end
wake('x')
return 1
