-- Appends events to the log of an attempt.
-- KEYS: the head of the log, its events. ARGV: the attempt, the sequence of the first event, whether the last event of
-- the turn is among them, the time to live in milliseconds, then the events.
-- Returns whether the events are in the log.
local attempt, first = tonumber(ARGV[1]), tonumber(ARGV[2])
local head = redis.pcall('HMGET', KEYS[1], 'attempt', 'total', 'ended')
local stored, total = nil, 0
if head.err then
  if not string.find(head.err, 'WRONGTYPE') then return head end
  redis.call('DEL', KEYS[1], KEYS[2])
else
  stored = tonumber(head[1])
  if stored and stored > attempt then return 0 end
  -- One of the two keys may be lost, and the log with it.
  if stored == attempt and redis.call('LLEN', KEYS[2]) == tonumber(head[2]) then
    total = tonumber(head[2])
  else
    stored = nil
  end
end
if first > total then return 0 end
local added = #ARGV - 4 - (total - first)
if added > 0 and stored and head[3] == '1' then return 0 end
local ended = (ARGV[3] == '1' or (stored and head[3] == '1')) and '1' or '0'
-- The first write is one that a full server refuses, so that it refuses all of them.
redis.call('HSET', KEYS[1], 'attempt', attempt, 'total', total + math.max(added, 0), 'ended', ended)
if not stored then redis.call('DEL', KEYS[2]) end
for index = 5 + total - first, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[index]) end
-- A repetition of earlier events does not make the log of an ended turn stay longer.
if ARGV[3] == '1' or ended == '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
return 1
