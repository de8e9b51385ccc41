-- ARGV: a filling, to be removed if it is the one that is there.
if redis.call('GETRANGE', KEYS[1], 8, 23) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
