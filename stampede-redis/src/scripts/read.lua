-- ARGV: the most bytes wanted, what stands before a tag's name.
local found = value(ARGV[1], ARGV[2])
if not found then return false end
return { found, left(KEYS[1]) }
