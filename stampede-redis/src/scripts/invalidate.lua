-- ARGV: the channel of the news, what to say there.
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('PUBLISH', ARGV[1], ARGV[2])
wake()
return 1
