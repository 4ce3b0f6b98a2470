-- Keeps places of a user, and takes those again that were lost.
-- KEYS: the places of the user. ARGV: the lifetime of a place in milliseconds, then the holders.
local time = redis.call('TIME')
local until_time = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[1])
local card = redis.pcall('ZCARD', KEYS[1])
if type(card) == 'table' then
  if not string.find(card.err, 'WRONGTYPE') then return card end
  redis.call('DEL', KEYS[1])
end
for index = 2, #ARGV do redis.call('ZADD', KEYS[1], until_time, ARGV[index]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
