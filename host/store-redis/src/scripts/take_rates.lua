-- Takes one from each bucket, in order, up to the first that is empty. GCRA: a key holds the time, in microseconds by
-- the server's clock, at which its bucket is full.
-- KEYS: the buckets. ARGV: for each its interval in microseconds, and its burst.
-- Returns for each bucket that was asked {allowed, remaining, microseconds to wait}.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local answers = {}
for index, key in ipairs(KEYS) do
  local interval = tonumber(ARGV[2 * index - 1])
  local span = interval * tonumber(ARGV[2 * index])
  local stored = redis.pcall('GET', key)
  if type(stored) == 'table' and not string.find(stored.err, 'WRONGTYPE') then return stored end
  local full_at = type(stored) == 'string' and tonumber(stored) or now
  -- No bucket is more than empty; the clock of a server that took over may be behind.
  full_at = math.min(math.max(full_at, now), now + span)
  local room = now + span - full_at
  if room < interval then
    answers[index] = {0, 0, interval - room}
    break
  end
  full_at = full_at + interval
  redis.call('SET', key, string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000) + 1000)
  answers[index] = {1, math.floor((now + span - full_at) / interval), 0}
end
return answers
