-- What a tag stands at passes. KEYS: the tag, what the tags in sum stand at. ARGV: a new generation, the channel of the news,
-- what to say there.
redis.call('SET', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
