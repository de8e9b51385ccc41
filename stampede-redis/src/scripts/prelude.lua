-- What the scripts share. KEYS are always: value, lease, and, but in Cluster, where these live elsewhere: what everything
-- stands at, what the tags in sum stand at, and what each tag stands at. WAKE is PUBLISH, in Cluster SPUBLISH.
--
-- A lease is 'L', a token of 16 bytes, 8 bytes that stand for the names of the tags, and their generations, 8 bytes each.
-- A 'T' in its place keeps those away who have an old value to serve. Offsets into values: envelope.rs, plus one.

local HEADER, DAY = 72, 86400000

local function wake(word)
  redis.call(WAKE, KEYS[1] .. ':w', word or '')
end
