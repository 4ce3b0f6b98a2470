-- Gives a place of a user back.
-- KEYS: the places of the user. ARGV: the holder.
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
