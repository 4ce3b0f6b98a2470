-- Takes a place of a user: a sorted set of holders by the time, in milliseconds, until which they hold it.
-- KEYS: the places of the user. ARGV: the holder, the limit, the lifetime of a place in milliseconds.
-- Returns whether the holder has a place.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local removed = redis.pcall('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if type(removed) == 'table' then
  if not string.find(removed.err, 'WRONGTYPE') then return removed end
  redis.call('DEL', KEYS[1])
end
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
