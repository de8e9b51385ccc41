-- KEYS: what everything stands at. ARGV: a new generation, the channel of the news, what to say there.
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
